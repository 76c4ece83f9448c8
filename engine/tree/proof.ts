/**
 * Proof that an entry is in the tree of a root hash: the hashed bytes of the nodes from its leaf up to the root.
 *
 *   u8 version 1 · u8 nodes · for each, leaf first: u32 length, that many bytes
 *
 * Whoever has the root hash needs nothing else: the leaf must hold key and value, and each node's BLAKE3 must be what the next one
 * names for the child that key belongs to, the last one's the root hash. Takes any bytes; no two proofs of one entry exist.
 */
import { equalBytes, getU32, putU32 } from '../format/bytes.js';
import { HASH_BYTES } from '../format/hash.js';
import { MAX_LEVEL, type Node, parseNode } from './node.js';
import type { TreeStore } from './tree-store.js';
import type { TreeRoot } from './types.js';

const PROOF_VERSION = 1;

/** Undefined where the tree has no entry with this key. */
export function proveEntry(store: TreeStore, root: TreeRoot, key: Uint8Array): Buffer | undefined {
  const path = pathTo(store, root, key);
  return path && encode(path);
}

/** The same as the nodes' hashed bytes, leaf first. */
export function provePath(store: TreeStore, root: TreeRoot, key: Uint8Array): Uint8Array[] | undefined {
  return pathTo(store, root, key)?.map((node) => node.hashed());
}

function pathTo(store: TreeStore, root: TreeRoot, key: Uint8Array): Node[] | undefined {
  const path: Node[] = [];
  let node = store.reader.root(root);
  while (node !== undefined) {
    path.unshift(node);
    const index = node.search(key, key.length);
    if (index === node.count) return undefined;
    if (node.level === 0) {
      return node.compareKey(index, key, key.length) === 0 ? path : undefined;
    }
    node = store.reader.child(node, index);
  }
  return undefined;
}

function encode(path: readonly Node[]): Buffer {
  const parts: Uint8Array[] = [Uint8Array.of(PROOF_VERSION, path.length)];
  for (const node of path) {
    const length = new Uint8Array(4);
    putU32(length, 0, node.hashedBytes);
    parts.push(length, node.hashed());
  }
  return Buffer.concat(parts);
}

/** Whether `proof` shows that the tree with this root hash maps `key` to `value`. */
export function verifyProof(rootHash: Uint8Array, key: Uint8Array, value: Uint8Array, proof: Uint8Array): boolean {
  const bytes = Buffer.from(proof.buffer, proof.byteOffset, proof.length);
  if (bytes.length < 2 || rootHash.length !== HASH_BYTES || bytes[0] !== PROOF_VERSION) return false;
  const nodes = bytes[1]!;
  if (nodes === 0 || nodes > MAX_LEVEL + 1) return false;
  let proven = value;
  let at = 2;
  for (let level = 0; level < nodes; level++) {
    if (at + 4 > bytes.length) return false;
    const length = getU32(bytes, at);
    at += 4;
    const node = at + length > bytes.length ? 'cut short' : parseNode(bytes, at, length, false);
    if (typeof node === 'string' || node.level !== level) return false;
    at += length;
    const index = node.search(key, key.length);
    if (index === node.count) return false;
    if (level === 0) {
      if (node.compareKey(index, key, key.length) !== 0 || !equalBytes(node.value(index), proven)) return false;
    } else if (!equalBytes(node.childHash(index), proven)) {
      return false;
    }
    proven = node.hash();
  }
  return at === bytes.length && equalBytes(proven, rootHash);
}
