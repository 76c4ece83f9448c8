/**
 * Tree keys of versions (entity, then 6 bytes of inverted seq: see format/keys.ts), written to and read from where they lie.
 *
 * A node's common prefix may reach into the seq of a hot entity, so nothing here assumes that the seq is part of the rest.
 * Pure functions.
 */
import { MAX_SEQ } from '../types.js';
import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';
import { TreeEntry } from './tree-entry.js';
import { SEQ_BYTES, type TreeRoot } from './types.js';

const U32 = 2 ** 32;

/** One char a byte; answers the length. */
export function writeEntity(into: Uint8Array, entity: string): number {
  const { length } = entity;
  for (let i = 0; i < length; i++) into[i] = entity.charCodeAt(i);
  return length;
}

export function writeSeq(into: Uint8Array, at: number, seq: number): void {
  const inverted = MAX_SEQ - seq;
  const high = Math.floor(inverted / U32);
  const low = inverted >>> 0;
  into[at] = high >>> 8;
  into[at + 1] = high;
  into[at + 2] = low >>> 24;
  into[at + 3] = low >>> 16;
  into[at + 4] = low >>> 8;
  into[at + 5] = low;
}

/** The seq in an entry's key. */
export function seqAt(node: Node, index: number): number {
  const at = node.restEnd(index) - SEQ_BYTES;
  const restAt = node.restStart(index);
  return at < restAt ? seqAcross(node.bytes, node.endsAt, restAt, restAt - at) : seqFrom(node.bytes, at);
}

/** A seq whose first `shared` bytes end the node's prefix: the leaf is one entity's alone. */
function seqAcross(bytes: Uint8Array, prefixEnd: number, restAt: number, shared: number): number {
  let inverted = 0;
  for (let i = 0; i < SEQ_BYTES; i++) inverted = inverted * 256 + bytes[i < shared ? prefixEnd - shared + i : restAt + i - shared]!;
  return MAX_SEQ - inverted;
}

function seqFrom(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!;
  const low = ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
  return MAX_SEQ - (high * U32 + low);
}

export function treeEntry(node: Node, index: number): TreeEntry {
  return new TreeEntry(seqAt(node, index), node, index);
}

/** Whether an entry is a version of the entity in `entity[0, length)`. */
export function sameEntity(node: Node, index: number, entity: Uint8Array, length: number): boolean {
  return node.keyLength(index) === length + SEQ_BYTES && node.beginsWith(index, entity, length);
}

/** Whether two entries of a leaf are versions of one entity. Beyond the prefix, all but the seq is compared. */
export function sameEntities(node: Node, a: number, b: number): boolean {
  const { bytes } = node;
  let from = node.restStart(a);
  const end = node.restEnd(a) - SEQ_BYTES;
  let other = node.restStart(b);
  if (end - from !== node.restEnd(b) - SEQ_BYTES - other) return false;
  while (from < end && bytes[from] === bytes[other]) {
    from++;
    other++;
  }
  return from >= end;
}

/** The same of entries of two leaves, whose keys may part from their prefixes in different places. */
export function sameEntitiesAcross(a: Node, aIndex: number, b: Node, bIndex: number): boolean {
  const length = a.keyLength(aIndex) - SEQ_BYTES;
  if (b.keyLength(bIndex) !== length + SEQ_BYTES) return false;
  let at = 0;
  while (at < length && a.keyByte(aIndex, at) === b.keyByte(bIndex, at)) at++;
  return at === length;
}

/** The version in the tree that "entity as of seq" means: the newest with a seq up to it. `scratch` holds a key. */
export function findVersion(reader: NodeReader, root: TreeRoot, entity: string, seq: number, scratch: Uint8Array): TreeEntry | undefined {
  let node = reader.root(root);
  if (node === undefined) return undefined;
  const length = writeEntity(scratch, entity);
  writeSeq(scratch, length, seq);
  const keyLength = length + SEQ_BYTES;
  for (;;) {
    const index = node.search(scratch, keyLength);
    if (index === node.count) return undefined;
    if (node.level === 0) {
      return sameEntity(node, index, scratch, length) ? treeEntry(node, index) : undefined;
    }
    node = reader.child(node, index);
  }
}

/** The value at exactly this key: a view. */
export function findValue(reader: NodeReader, root: TreeRoot, key: Uint8Array): Buffer | undefined {
  let node = reader.root(root);
  while (node !== undefined) {
    const index = node.search(key, key.length);
    if (index === node.count) return undefined;
    if (node.level === 0) return node.compareKey(index, key, key.length) === 0 ? node.value(index) : undefined;
    node = reader.child(node, index);
  }
  return undefined;
}

/** Whether any key lies from `from` on and before `until`: one way down, with what a search needs anyway. */
export function hasKeyBetween(reader: NodeReader, root: TreeRoot, from: Uint8Array, until: Uint8Array): boolean {
  for (let node = reader.root(root); node !== undefined; ) {
    const index = node.search(from, from.length);
    if (index === node.count) return false;
    if (node.level === 0) return node.compareKey(index, until, until.length) < 0;
    node = reader.child(node, index);
  }
  return false;
}

/** How many entries have a key < `key`. */
export function rank(reader: NodeReader, root: TreeRoot, key: Uint8Array): number {
  let node = reader.root(root);
  let sum = 0;
  while (node !== undefined) {
    const index = node.search(key, key.length);
    if (node.level === 0) return sum + index;
    for (let i = 0; i < index; i++) sum += node.entriesBelow(i);
    if (index === node.count) return sum;
    node = reader.child(node, index);
  }
  return sum;
}

/**
 * All versions of an entity with seqs within [fromSeq, toSeq], newest first, where one leaf holds them: most entities have few. Undefined
 * where they may go on in the next leaf.
 */
export function versionsInLeaf(
  reader: NodeReader,
  root: TreeRoot,
  entity: string,
  fromSeq: number,
  toSeq: number,
  scratch: Uint8Array,
): TreeEntry[] | undefined {
  const found: TreeEntry[] = [];
  let node = reader.root(root);
  if (node === undefined) return found;
  const length = writeEntity(scratch, entity);
  writeSeq(scratch, length, toSeq);
  let index = node.search(scratch, length + SEQ_BYTES);
  for (; index < node.count && node.level > 0; index = node.search(scratch, length + SEQ_BYTES)) node = reader.child(node, index);
  if (index === node.count || !sameEntity(node, index, scratch, length)) return found;
  for (let seq = seqAt(node, index); seq >= fromSeq; seq = seqAt(node, index)) {
    found.push(new TreeEntry(seq, node, index));
    if (++index === node.count) return undefined;
    if (!sameEntities(node, index - 1, index)) return found;
  }
  return found;
}
