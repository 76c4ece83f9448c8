/**
 * Errors and short answers of the disk at every operation, and a disk that fills at every length. A bounded
 * share, spread evenly; all of it: `npx tsx tools/faults/io-faults.ts`.
 */
import { describe, expect, test } from 'vitest';
import { describeCase, faultCases, runFault, runFull } from '../support/fault-runs.js';
import { WORKLOADS } from '../support/workloads.js';

const CASES_PER_WORKLOAD = 80;
const CAPACITIES_PER_WORKLOAD = 12;

describe('a disk that fails', () => {
  test.each(WORKLOADS.map((workload) => [workload.name, workload] as const))(
    'stops writes, acknowledges nothing falsely, keeps reading, and resumes: %s',
    { timeout: 120_000 },
    async (_name, workload) => {
      const cases = await faultCases(workload);
      expect(cases.length).toBeGreaterThan(CASES_PER_WORKLOAD / 2);
      const stride = Math.max(1, cases.length / CASES_PER_WORKLOAD);
      for (let i = 0; i < cases.length; i += stride) {
        const chosen = cases[Math.floor(i)];
        if (chosen === undefined) continue;
        await runFault(workload, chosen).catch((cause: unknown) => {
          throw new Error(`${describeCase(workload, chosen)}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
        });
      }
    },
  );

  test.each(WORKLOADS.map((workload) => [workload.name, workload] as const))(
    'refuses writes while it is full and takes them once there is room: %s',
    { timeout: 120_000 },
    async (_name, workload) => {
      for (let i = 0; i < CAPACITIES_PER_WORKLOAD; i++) {
        const capacity = 200 + i * 457;
        await runFull(workload, capacity).catch((cause: unknown) => {
          throw new Error(`${workload.name}, room for ${capacity} bytes: ${cause instanceof Error ? cause.message : String(cause)}`, {
            cause,
          });
        });
      }
    },
  );
});
