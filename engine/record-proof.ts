/**
 * A record's proof: the hashed bytes of the tree's nodes from its leaf up to the root, with what ties the body to it. Whoever has it and
 * trusts the root needs nothing else.
 *
 *   body + salt ─▶ body hash ─▶ record hash ─▶ leaf entry ─▶ node ─▶ … ─▶ root
 *
 * The root is the tree's newest that holds the record; where none does yet, what is in memory is folded first, and nothing is logged.
 * A record that was erased keeps its body hash, so it proves as before without its body.
 */
import type { RecordProof } from './database.js';
import { hex } from './format/hash.js';
import { treeKey } from './format/keys.js';
import { bodyHashOf } from './format/record-hash.js';
import type { ReadRecord } from './log/index.js';
import { StoredVersion } from './record-view.js';
import type { Erasures } from './retention/erasures.js';
import { provePath } from './tree/proof.js';
import type { TreeStore } from './tree/tree-store.js';
import type { TreeRoot } from './tree/types.js';
import type { Seq, ShardId } from './types.js';

/** Undefined where the tree does not hold the record. */
export function proveRecord(
  shard: ShardId,
  record: ReadRecord,
  entity: string,
  store: TreeStore,
  tree: { readonly root: TreeRoot; readonly seq: number },
  erasures: Erasures,
): RecordProof | undefined {
  const path = provePath(store, tree.root, treeKey(entity, record.seq));
  if (path === undefined) return undefined;
  const view = new StoredVersion(shard, record, undefined, erasures);
  const salted = record.salt.length > 0 && !view.erased;
  return {
    record: view,
    ...(salted ? { salt: hex(record.salt) } : { bodyHash: hex(bodyHashOf(record)) }),
    path,
    seq: tree.seq as Seq,
    root: hex(tree.root.hash),
  };
}
