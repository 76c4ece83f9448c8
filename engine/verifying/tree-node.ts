/**
 * Nodes of a tree as bytes from anywhere: parsed, and held against the hash that their parent, or a root, names.
 * Takes any bytes; what it gives out proves itself.
 */
import { equalBytes } from '../format/bytes.js';
import { splitEntityKey } from '../format/keys.js';
import { parseNode } from '../tree/node.js';
import { SEQ_BYTES } from '../tree/types.js';
import { MAX_SEQ } from '../types.js';

export interface TreeNode {
  /** 0: a leaf. */
  readonly level: number;
  readonly count: number;
  /** Entry `index`'s key; of an inner node: the last key below that child. A copy. */
  key(index: number): Buffer;
  /** Of a leaf. A view. */
  value(index: number): Buffer;
  /** Of an inner node. A view. */
  childHash(index: number): Buffer;
}

/** More than the largest node the format allows needs. */
export const MAX_NODE_BYTES = 256 * 1024;

/** The node with this hash, or what is wrong with the bytes. `level` undefined: any. */
export function readTreeNode(bytes: Uint8Array, hash: Uint8Array, level?: number): TreeNode | string {
  if (bytes.length > MAX_NODE_BYTES) return 'node is too long';
  const node = parseNode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length, false);
  if (typeof node === 'string') return node;
  if (!equalBytes(node.hash(), hash)) return 'node does not have the hash its parent names';
  if (level !== undefined && node.level !== level) return 'node lies on another level';
  return node;
}

export interface VersionOfKey {
  readonly seq: number;
  readonly collection: string;
  readonly key: string;
}

/** What a leaf's key says; undefined where it is none of a version. */
export function versionOfTreeKey(key: Buffer): VersionOfKey | undefined {
  const end = key.length - SEQ_BYTES;
  const zero = key.indexOf(0);
  if (end < 4 || zero <= 0 || zero >= end - 2 || key[end - 1] !== 0) return undefined;
  const { collection, key: name } = splitEntityKey(key.toString('latin1', 0, end));
  return { seq: MAX_SEQ - key.readUIntBE(end, SEQ_BYTES), collection, key: name };
}
