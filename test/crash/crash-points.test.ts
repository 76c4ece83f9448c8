/**
 * The power goes before every change to the disk and at every acknowledgement, with every loss of unsynced
 * sectors where they are few. A bounded share; all of it: `npx tsx tools/faults/crash-points.ts`.
 */
import { describe, expect, test } from 'vitest';
import { crashEverywhere } from '../support/crash-states.js';
import { WORKLOADS } from '../support/workloads.js';

const SHARE = { everyUpToSectors: 8, statesPerMoment: 10, randomPerMoment: 3, nestedOneIn: 97 };

describe('a power cut or a kill at any moment', () => {
  test.each(WORKLOADS.map((workload) => [workload.name, workload] as const))(
    'loses nothing acknowledged: %s',
    { timeout: 120_000 },
    async (_name, workload) => {
      const stats = await crashEverywhere(workload, SHARE);
      expect(stats.moments).toBeGreaterThan(20);
      expect(stats.states).toBeGreaterThan(stats.moments / 2);
    },
  );
});
