/**
 * The bytes of a tree file (docs/FORMAT.md, "Tree files"): a header, then frames, one after the other.
 *
 *   header, 64    magic 'VARVTREE' · version u32 · shard u32 · database id 16 · file u32 · node target u32 · copy u32 · closes u32 · zeros · crc u32
 *   node frame    'VNOD' · hashed bytes u32 · address bytes u32 · hashed bytes · addresses · crc u32
 *   root frame,   'VROO' · height i32 · seq u64 · entries u64 · root's file, offset, length u32 each · file and offset of the
 *     80          root frame before u32 each · root hash 32 · crc u32
 *
 * A frame's CRC starts from a seed made of database, shard, file and offset, so that a frame in a wrong place fails.
 * Decoders take any bytes and answer undefined or a sentence; nothing here does I/O.
 */

import { allZero, equalBytes, getU32, getU48, putU32, putU48 } from '../format/bytes.js';
import { crc32 } from '../format/checksum.js';
import { HASH_BYTES } from '../format/hash.js';
import { MAX_LEVEL } from './node.js';
import type { TreeRoot } from './types.js';

export const FILE_HEADER_BYTES = 64;
export const ROOT_FRAME_BYTES = 80;
export const NODE_FRAME_HEAD_BYTES = 12;
export const CRC_BYTES = 4;
export const TREE_FORMAT_VERSION = 1;
export const ROOT_FRAME_TAG = Buffer.from('VROO', 'latin1');

const MAGIC = Buffer.from('VARVTREE', 'latin1');
const NODE_TAG = Buffer.from('VNOD', 'latin1').readUInt32LE(0);
const ROOT_TAG = ROOT_FRAME_TAG.readUInt32LE(0);
const COPY_AT = 40;
const SUFFIX = '.tree';
const MOST_FILES = 999_999_999;

/** Whose files these are. */
export interface TreeIdentity {
  readonly databaseId: Uint8Array;
  readonly shard: number;
  readonly targetBytes: number;
}

export function treeFileName(file: number): string {
  return `${file.toString().padStart(6, '0')}${SUFFIX}`;
}

/** The number in a name that `treeFileName` could have made. */
export function parseTreeFileName(name: string): number | undefined {
  const file = Number.parseInt(name, 10);
  return file > 0 && file <= MOST_FILES && treeFileName(file) === name ? file : undefined;
}

/** What the CRC of the frame at offset 0 of a file would start from; at any other offset the two are combined by exclusive or. */
export function fileSeed(identity: TreeIdentity, file: number): number {
  const place = Buffer.alloc(8);
  putU32(place, 0, identity.shard);
  putU32(place, 4, file);
  return crc32(place, crc32(identity.databaseId));
}

function frameCrc(bytes: Uint8Array, seed: number, offset: number): number {
  return crc32(bytes, (seed ^ offset) >>> 0);
}

/** Files that a compaction of the tree made together. */
export interface CopyMark {
  /** Number that stands for them all, that of the first. */
  readonly first: number;
  /** On the last, which holds the root: there, all of them are whole, and every file before it that is not of them is superseded. */
  readonly closes: boolean;
}

/** `copy`: undefined for a file of folds. */
export function encodeFileHeader(identity: TreeIdentity, file: number, copy?: CopyMark): Buffer {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  MAGIC.copy(header, 0);
  header.writeUInt32LE(TREE_FORMAT_VERSION, 8);
  header.writeUInt32LE(identity.shard, 12);
  header.set(identity.databaseId, 16);
  header.writeUInt32LE(file, 32);
  header.writeUInt32LE(identity.targetBytes, 36);
  header.writeUInt32LE(copy?.first ?? 0, COPY_AT);
  header.writeUInt32LE(copy?.closes === true ? 1 : 0, COPY_AT + 4);
  header.writeUInt32LE(crc32(header.subarray(0, FILE_HEADER_BYTES - CRC_BYTES)), FILE_HEADER_BYTES - CRC_BYTES);
  return header;
}

/** Of a header that has passed; undefined for a file of folds. */
export function copyMarkOf(header: Buffer): CopyMark | undefined {
  const first = getU32(header, COPY_AT);
  return first === 0 ? undefined : { first, closes: getU32(header, COPY_AT + 4) === 1 };
}

/** Undefined: the header is good; otherwise what is wrong with it. */
export function fileHeaderProblem(header: Buffer, identity: TreeIdentity, file: number): string | undefined {
  if (header.length < FILE_HEADER_BYTES) return 'file header is cut short';
  const crcAt = FILE_HEADER_BYTES - CRC_BYTES;
  if (crc32(header.subarray(0, crcAt)) !== getU32(header, crcAt)) return 'file header fails its checksum';
  if (!equalBytes(header.subarray(0, 8), MAGIC)) return 'file is not a tree file';
  const version = getU32(header, 8);
  if (version !== TREE_FORMAT_VERSION) return `file has tree format ${version}, this version reads ${TREE_FORMAT_VERSION}`;
  const isHere =
    getU32(header, 12) === identity.shard &&
    equalBytes(header.subarray(16, 32), identity.databaseId) &&
    getU32(header, 32) === file &&
    getU32(header, 36) === identity.targetBytes &&
    (getU32(header, COPY_AT) === 0 ? 0 : 1) >= getU32(header, COPY_AT + 4) &&
    allZero(header, COPY_AT + 8, crcAt);
  return isHere ? undefined : 'file belongs to another database, shard or place';
}

export function nodeFrameBytes(hashedBytes: number, addressBytes: number): number {
  return NODE_FRAME_HEAD_BYTES + hashedBytes + addressBytes + CRC_BYTES;
}

/** Writes head and CRC around a node that lies encoded at `at + NODE_FRAME_HEAD_BYTES`. */
export function sealNodeFrame(into: Buffer, at: number, hashedBytes: number, addressBytes: number, seed: number, offset: number): void {
  putU32(into, at, NODE_TAG);
  putU32(into, at + 4, hashedBytes);
  putU32(into, at + 8, addressBytes);
  const crcAt = at + NODE_FRAME_HEAD_BYTES + hashedBytes + addressBytes;
  putU32(into, crcAt, frameCrc(into.subarray(at, crcAt), seed, offset));
}

/** Undefined: the node frame that fills `frame` is good; otherwise what is wrong with it. */
export function nodeFrameProblem(frame: Buffer, seed: number, offset: number): string | undefined {
  if (frame.length < NODE_FRAME_HEAD_BYTES + CRC_BYTES) return 'node frame is cut short';
  const crcAt = frame.length - CRC_BYTES;
  if (frameCrc(frame.subarray(0, crcAt), seed, offset) !== getU32(frame, crcAt)) return 'node frame fails its checksum';
  if (getU32(frame, 0) !== NODE_TAG) return 'no node frame lies here';
  return nodeFrameBytes(getU32(frame, 4), getU32(frame, 8)) === frame.length ? undefined : 'node frame has another length';
}

/** A root as it stands in a file. */
export interface RootFrame {
  readonly seq: number;
  readonly root: TreeRoot;
  /** Where the root frame before this one begins; 0/0 for the first. */
  readonly previousFile: number;
  readonly previousOffset: number;
}

export function encodeRootFrame(frame: RootFrame, seed: number, offset: number): Buffer {
  const bytes = Buffer.alloc(ROOT_FRAME_BYTES);
  const { root } = frame;
  putU32(bytes, 0, ROOT_TAG);
  bytes.writeInt32LE(root.height, 4);
  putU48(bytes, 8, frame.seq);
  putU48(bytes, 16, root.entries);
  putU32(bytes, 24, root.file);
  putU32(bytes, 28, root.offset);
  putU32(bytes, 32, root.length);
  putU32(bytes, 36, frame.previousFile);
  putU32(bytes, 40, frame.previousOffset);
  bytes.set(root.hash, 44);
  putU32(bytes, ROOT_FRAME_BYTES - CRC_BYTES, frameCrc(bytes.subarray(0, ROOT_FRAME_BYTES - CRC_BYTES), seed, offset));
  return bytes;
}

/** The root frame in these bytes, or undefined where they are none. */
export function decodeRootFrame(bytes: Buffer, seed: number, offset: number): RootFrame | undefined {
  if (bytes.length !== ROOT_FRAME_BYTES || getU32(bytes, 0) !== ROOT_TAG) return undefined;
  const crcAt = ROOT_FRAME_BYTES - CRC_BYTES;
  if (frameCrc(bytes.subarray(0, crcAt), seed, offset) !== getU32(bytes, crcAt)) return undefined;
  const height = getU32(bytes, 4) | 0;
  if (height < -1 || height > MAX_LEVEL) return undefined;
  return {
    seq: getU48(bytes, 8),
    root: {
      hash: Uint8Array.from(bytes.subarray(44, 44 + HASH_BYTES)),
      entries: getU48(bytes, 16),
      height,
      file: getU32(bytes, 24),
      offset: getU32(bytes, 28),
      length: getU32(bytes, 32),
    },
    previousFile: getU32(bytes, 36),
    previousOffset: getU32(bytes, 40),
  };
}
