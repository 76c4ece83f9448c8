/**
 * The root hash from scratch (law 3): every record up to a seq is read back by its id, hashed anew where its
 * bytes are at hand, sorted, and built into a new tree in one run. No memtable, no checkpoint, no history.
 */
import assert from 'node:assert/strict';
import type { Database } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { hex } from '../../engine/format/hash.js';
import { entityKey, treeKey } from '../../engine/format/keys.js';
import { writeLeafValue } from '../../engine/format/leaf-value.js';
import { KIND_PUT, KIND_TOMBSTONE } from '../../engine/log/types.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { EMPTY_ROOT_HASH } from '../../engine/tree/node.js';
import { NodeCache } from '../../engine/tree/node-cache.js';
import { TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeChange } from '../../engine/tree/types.js';
import { parseRecordId, recordId, type VersionRecord } from '../../engine/types.js';
import { timeToMicros } from './compare.js';

/** `spans`: where seqs were given out at all; up to `throughSeq` by default. */
export async function freshRoot(
  db: Database,
  shard: number,
  throughSeq: number,
  spans: readonly { readonly firstSeq: number; readonly lastSeq: number }[] = [{ firstSeq: 1, lastSeq: throughSeq }],
): Promise<{ root: string; entries: number }> {
  const changes: TreeChange[] = [];
  for (const { firstSeq, lastSeq } of spans) {
    for (let seq = firstSeq; seq <= Math.min(lastSeq, throughSeq); seq++) {
      const record = surviving(db, recordId(shard, seq));
      if (record !== undefined) changes.push(changeOf(record));
    }
  }
  if (changes.length === 0) return { root: hex(EMPTY_ROOT_HASH), entries: 0 };
  changes.sort((a, b) => Buffer.compare(a.key, b.key));
  const platform = new MemoryPlatform();
  const databaseId = Buffer.from(db.databaseId, 'hex');
  const store = await TreeStore.open({ platform, directory: 'tree', shard, databaseId, cache: new NodeCache(1 << 22) });
  const steps = store.apply(undefined, changes);
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  const root = await store.commit(step.value, throughSeq);
  assert.equal(root.entries, changes.length, 'entries of a fresh build');
  store.close();
  return { root: hex(root.hash), entries: changes.length };
}

/** Undefined for what retention has dropped, too. */
function surviving(db: Database, id: string): VersionRecord | undefined {
  try {
    return db.record(id);
  } catch (error) {
    if (isVarveError(error, 'TRIMMED')) return undefined;
    throw error;
  }
}

function changeOf(record: VersionRecord): TreeChange {
  const value = writeLeafValue({
    hash: Buffer.from(record.hash, 'hex'),
    kind: record.deleted ? KIND_TOMBSTONE : KIND_PUT,
    time: timeToMicros(record.time),
    supersedes: record.supersedes === null ? 0 : parseRecordId(record.supersedes).seq,
  });
  return { key: treeKey(entityKey(record.collection, record.key), record.seq), value };
}
