/**
 * Makes one operation of a workload fail, or the disk full, and holds the engine to fail-stop: no false
 * acknowledgement, reads stay up, and once the fault is over writes go on, with nothing lost or half there.
 */
import assert from 'node:assert/strict';
import { VarveError } from '../../engine/errors.js';
import { loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { Fault, Operation } from '../../engine/platform/memory-faults.js';
import { checkRecovery, Session, type Workload } from './crash-states.js';
import { Ledger, type LedgerState } from './ledger.js';

/** Retries after a failure are at most this far apart. */
const RETRY_MS = 6000;

export interface FaultCase {
  readonly index: number;
  readonly operation: Operation;
  readonly fault: Fault;
}

/** Every operation of a workload, with everything that can go wrong with it. */
export async function faultCases(workload: Workload, seed = 1): Promise<FaultCase[]> {
  const platform = new MemoryPlatform({ seed, trace: true, blocking: workload.blocking ?? false });
  await workload.run(new Session(platform, workload.options, new Ledger()));
  return [...platform.trace].flatMap((operation) => faultsOf(operation).map((fault) => ({ index: operation.index, operation, fault })));
}

function faultsOf(operation: Operation): Fault[] {
  const io: Fault = { kind: 'error', code: 'EIO' };
  const full: Fault = { kind: 'error', code: 'ENOSPC' };
  const { length } = operation;
  switch (operation.kind) {
    case 'write':
      return [
        io,
        full,
        ...[1, Math.floor(length / 2), length - 1]
          .filter((bytes) => bytes > 0 && bytes < length)
          .map((bytes): Fault => ({ kind: 'short', bytes })),
      ];
    case 'sync':
    case 'syncDirectory':
      return [{ kind: 'failed-sync' }, { kind: 'failed-sync', keeps: 'some' }];
    case 'read':
      return [io, { kind: 'short', bytes: Math.floor(length / 2) }];
    case 'create':
    case 'makeDirectory':
      return [io, full];
    case 'lock':
      return [];
    default:
      return [io];
  }
}

export function describeCase(workload: Workload, { operation, fault }: FaultCase): string {
  return `${workload.name}: ${JSON.stringify(fault)} at operation ${operation.index}, ${operation.kind} ${operation.path} at ${operation.position} of ${operation.length}`;
}

/** True for an error that says what happened; anything else that reaches a caller is a bug. */
function isClear(error: unknown): boolean {
  return error instanceof VarveError || (error instanceof Error && ['EIO', 'ENOSPC'].includes((error as NodeJS.ErrnoException).code ?? ''));
}

export async function runFault(workload: Workload, chosen: FaultCase, seed = 1): Promise<void> {
  const platform = new MemoryPlatform({ seed, blocking: workload.blocking ?? false });
  platform.failAt(chosen.index, chosen.fault);
  await runFaulty(workload, platform, () => platform.clearFaults(), chosen.index);
}

/** The same on a disk with room for only so many bytes until the fault ends. */
export async function runFull(workload: Workload, capacityBytes: number, seed = 1): Promise<void> {
  const platform = new MemoryPlatform({ seed, capacityBytes, blocking: workload.blocking ?? false });
  await runFaulty(
    workload,
    platform,
    () => {
      platform.capacityBytes = Number.POSITIVE_INFINITY;
    },
    capacityBytes,
  );
}

async function runFaulty(workload: Workload, platform: MemoryPlatform, end: () => void, salt: number): Promise<void> {
  const ledger = new Ledger();
  const session = new Session(platform, workload.options, ledger);
  try {
    await workload.run(session);
  } catch (error) {
    if (!isClear(error)) throw error;
  }
  for (const { error } of ledger.state) if (error !== undefined && !(error instanceof VarveError)) throw error;
  if (session.db === undefined) return opensAfterwards(platform, workload, end, ledger);
  checkReads(session, ledger.state);
  end();
  await session.pass(RETRY_MS);
  await session.pass(RETRY_MS);
  // A power cut now, before anything else is written.
  const cut = platform.crash(randomChooser(salt));
  await checkRecovery(cut, workload.options, ledger.state);
  await resumes(session, ledger);
  await checkRecovery(platform.crash(loseEverything), workload.options, ledger.state);
}

/** Opening failed and said why: without the fault it opens, on the same machine. */
async function opensAfterwards(platform: MemoryPlatform, workload: Workload, end: () => void, ledger: Ledger): Promise<void> {
  end();
  assert.equal(ledger.state.length, 0);
  const session = new Session(platform, workload.options, ledger);
  await session.open();
  await session.put('works');
  await session.db.close();
  await checkRecovery(platform.killProcess(), workload.options, ledger.state);
}

/** Whatever happened, what was acknowledged can be read right now, unless the database was closed on the way. */
function checkReads(session: Session, state: LedgerState): void {
  for (const { result } of state) {
    for (const record of result?.records ?? []) {
      try {
        const found = session.db.record(record.id);
        assert.ok(found, `acknowledged ${record.id} cannot be read`);
        assert.equal(found.hash, record.hash);
      } catch (error) {
        if (!(error instanceof VarveError && error.code === 'CLOSED')) throw error;
      }
    }
  }
}

/** Inserts work again without anybody's help, or after opening anew where the workload had closed. */
async function resumes(session: Session, ledger: Ledger): Promise<void> {
  try {
    session.db.now();
  } catch (error) {
    if (!(error instanceof VarveError && error.code === 'CLOSED')) throw error;
    await session.open();
  }
  await session.put('resumed');
  const last = ledger.state.at(-1);
  assert.ok(last?.result, `writes resume after the fault: ${String(last?.error)}`);
  await session.db.close();
}
