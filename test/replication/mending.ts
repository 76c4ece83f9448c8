/** What tests of verification and repair share: a small database of several segments, and all that can be learned of it. */
import { expect } from 'vitest';
import type { Database, OpenOptions } from '../../engine/database.js';
import { isVarveError, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { recordId, type VersionRecord } from '../../engine/types.js';
import type { VerificationFinding, VerificationRequest, VerifiedReplica, Verifier } from '../../replication/index.js';
import type { Copy } from '../support/copies.js';

export const OPTIONS: OpenOptions = { segmentBytes: 4096, checkpointRecords: 1_000_000, upkeep: { automatic: false } };
export const RECORDS = 80;

export interface Result {
  readonly replicas: readonly VerifiedReplica[];
  readonly damaged: number;
  readonly repaired: number;
  readonly unrepairable: number;
  readonly findings: readonly VerificationFinding[];
}

export async function verify(verifier: Verifier, copy: Copy, request: VerificationRequest = { deep: true, repair: true }): Promise<Result> {
  const job = await copy.db.jobEnded(verifier.verify(request).id);
  expect(job?.error).toBeNull();
  expect(job?.state).toBe('done');
  return job?.result as unknown as Result;
}

/** A closed database of several sealed segments, tombstones and checkpoints. */
export async function subject(begin: (db: Database) => Promise<unknown> = () => Promise.resolve(), pad = 'p'): Promise<MemoryPlatform> {
  const machine = new MemoryPlatform({ seed: 3 });
  const db = await openWith(machine, OPTIONS);
  await begin(db);
  for (let i = 0; i < RECORDS; i++) {
    await db.put('c', `k${i % 50}`, { i, pad: pad.repeat(100) });
    if (i === 40) await db.checkpoint();
  }
  await db.delete('c', 'k7');
  await db.close();
  return machine;
}

/** The same, its segments merged and packed, some versions dropped. */
export async function compacted(): Promise<MemoryPlatform> {
  const machine = await subject();
  const db = await openWith(machine, OPTIONS);
  await db.setRetention('c', { keep: 'last', versions: 1 });
  await db.jobEnded(db.compact({ force: true }).id);
  await db.close();
  return machine;
}

function recordAt(db: Database, seq: number): VersionRecord | undefined {
  try {
    return db.record(recordId(1, seq));
  } catch (error) {
    if (isVarveError(error, 'TRIMMED')) return undefined;
    throw error;
  }
}

/** All that readers can learn. */
export async function contents(db: Database): Promise<string[]> {
  const told: string[] = [];
  // Between two epochs are more seqs than one can ask for.
  const seqs = db
    .replica(1)
    .epochs()
    .flatMap(({ firstSeq, lastSeq }) => Array.from({ length: lastSeq - firstSeq + 1 }, (_, i) => firstSeq + i));
  for (const seq of seqs) {
    const record = recordAt(db, seq);
    if (record !== undefined)
      told.push(`${record.id} ${record.time} ${record.collection}/${record.key} ${record.hash} ${JSON.stringify(record.body)}`);
  }
  const root = await db.root(1);
  return [...told, `root ${root?.seq} ${root?.root} ${root?.entries}`];
}

export const segmentsOf = (machine: MemoryPlatform): string[] =>
  machine
    .fileList()
    .map(({ path }) => path)
    .filter((path) => path.endsWith('.seg'));
