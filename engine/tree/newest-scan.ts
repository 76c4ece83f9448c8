/**
 * What a table of newest versions wants to know of a tree: of each entity, in key order, the hash and its newest version.
 *
 *   row   5 words: three of the entity's hash (entity-hash.ts) | seq's low u32 | seq's high u16, kind << 16
 *
 * Part by part, each begun where the one before ended, so that folds come between. Reads only.
 */
import { EntityHash } from '../entity-hash.js';
import { treeKey } from '../format/keys.js';
import { MAX_SEQ } from '../types.js';
import { Cursor } from './cursor.js';
import type { FoldHost } from './fold-host.js';
import type { TreeAt, WriterState } from './fold-message.js';
import type { NodeReader } from './node-reader.js';
import type { TreeRoot } from './types.js';

export const ROW_WORDS = 5;
const U32 = 2 ** 32;
/** Entities in one part of a scan: a tenth of a second on another thread, a fraction of a millisecond on this one. */
const SCANNED_THERE = 65_536;
const SCANNED_HERE = 200;

export interface NewestRows {
  readonly rows: Int32Array;
  /** Where to go on; undefined: that was all. */
  readonly next: Uint8Array | undefined;
}

/** What of a TreeStore is needed here. */
export interface ScannedTree {
  readonly place: Omit<TreeAt, 'state'>;
  handOver(): WriterState;
  readerInOrder(): NodeReader;
}

/** The part from `from` on, hashed with `key`: read on the thread that folds, where there is one; it is told how the files stand when its turn has come. */
export async function newestHereOrThere(
  tree: ScannedTree,
  host: FoldHost | undefined,
  root: TreeRoot,
  key: Uint8Array,
  from: Uint8Array | undefined,
): Promise<NewestRows> {
  if (host?.takes(SCANNED_THERE) !== true) return scanNewest(tree.readerInOrder(), root, new EntityHash(key), from, SCANNED_HERE);
  return host.scan(() => ({ ...tree.place, state: tree.handOver(), key, from, limit: SCANNED_THERE, scanned: root }));
}

/** Up to `limit` entities, from the tree key `from` on. */
export function scanNewest(reader: NodeReader, root: TreeRoot, hash: EntityHash, from: Uint8Array | undefined, limit: number): NewestRows {
  const rows = new Int32Array(limit * ROW_WORDS);
  const cursor = new Cursor(reader, root);
  if (from === undefined) cursor.seekFirst();
  else cursor.seek(from);
  let at = 0;
  for (; at < rows.length && cursor.valid; cursor.nextEntity()) {
    const { b, c, d } = hash.of(cursor.entity());
    const { seq, kind } = cursor.entry();
    rows[at++] = b;
    rows[at++] = c;
    rows[at++] = d;
    rows[at++] = seq | 0;
    rows[at++] = Math.floor(seq / U32) | (kind << 16);
  }
  return { rows: rows.subarray(0, at), next: cursor.valid ? treeKey(cursor.entity(), MAX_SEQ) : undefined };
}
