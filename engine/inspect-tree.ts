/** A tree file in words: header, nodes with their entries, roots, and stretches that are neither. */
import { hex } from './format/hash.js';
import { parseTreeKey, splitEntityKey } from './format/keys.js';
import { LeafEntry } from './format/leaf-value.js';
import { formatTime } from './format/time.js';
import type { InspectItem, InspectOptions } from './inspect.js';
import { KIND_PUT } from './log/types.js';
import type { File, Platform } from './platform/platform.js';
import { type Node, parseNode } from './tree/node.js';
import {
  copyMarkOf,
  decodeRootFrame,
  FILE_HEADER_BYTES,
  fileHeaderProblem,
  fileSeed,
  NODE_FRAME_HEAD_BYTES,
  nodeFrameBytes,
  nodeFrameProblem,
  parseTreeFileName,
  ROOT_FRAME_BYTES,
  type TreeIdentity,
} from './tree/tree-file.js';

const NODE_TAG = Buffer.from('VNOD', 'latin1');
const ROOT_TAG = Buffer.from('VROO', 'latin1');
/** No node is near this long. */
const MAX_NODE_BYTES = 1024 * 1024;
const SEARCH_BYTES = 1024 * 1024;

export function* inspectTreeFile(platform: Platform, name: string, options: InspectOptions): Generator<InspectItem> {
  const opened = platform.files.open(name, 'read');
  try {
    const header = read(opened, 0, FILE_HEADER_BYTES);
    if (header.length < FILE_HEADER_BYTES) {
      yield { what: 'tree file header', offset: 0, length: header.length, depth: 0, fields: {}, bad: 'the file header is cut short' };
      return;
    }
    // Who the file says it belongs to; its frames' checksums tell whether that is so.
    const identity: TreeIdentity = {
      shard: header.readUInt32LE(12),
      databaseId: Uint8Array.from(header.subarray(16, 32)),
      targetBytes: header.readUInt32LE(36),
    };
    const file = parseTreeFileName(name.replace(/\.tmp$/, '')) ?? header.readUInt32LE(32);
    const bad = fileHeaderProblem(header, identity, file);
    const copy = copyMarkOf(header);
    const fields = {
      database: Buffer.from(identity.databaseId).toString('hex'),
      shard: identity.shard,
      file,
      targetBytes: identity.targetBytes,
      ...(copy === undefined ? {} : { copy: copy.first, closes: copy.closes }),
    };
    yield { what: 'tree file header', offset: 0, length: FILE_HEADER_BYTES, depth: 0, fields, ...(bad === undefined ? {} : { bad }) };
    yield* inspectFrames(opened, fileSeed(identity, file), options);
  } finally {
    opened.close();
  }
}

function* inspectFrames(file: File, seed: number, options: InspectOptions): Generator<InspectItem> {
  const size = file.size();
  let badFrom = -1;
  for (let offset = FILE_HEADER_BYTES; offset < size; ) {
    const items = inspectFrame(file, offset, size, seed, options);
    if (items === undefined) {
      if (badFrom < 0) badFrom = offset;
      offset = nextTag(file, offset + 1, size);
      continue;
    }
    if (badFrom >= 0) yield badBytes(badFrom, offset);
    badFrom = -1;
    yield* items;
    offset += items[0]?.length ?? size;
  }
  if (badFrom >= 0) yield badBytes(badFrom, size);
}

function badBytes(from: number, to: number): InspectItem {
  return { what: 'bytes', offset: from, length: to - from, depth: 0, fields: {}, bad: 'no frame here passes its checksum' };
}

/** The frame at this place with its entries, the frame first; undefined where none is whole. */
function inspectFrame(file: File, offset: number, size: number, seed: number, options: InspectOptions): InspectItem[] | undefined {
  const head = read(file, offset, NODE_FRAME_HEAD_BYTES);
  if (head.length < NODE_FRAME_HEAD_BYTES) return undefined;
  if (head.subarray(0, 4).equals(ROOT_TAG)) {
    const frame = decodeRootFrame(read(file, offset, ROOT_FRAME_BYTES), seed, offset);
    if (frame === undefined) return undefined;
    const { hash, ...root } = frame.root;
    const previous = frame.previousFile === 0 ? null : `${frame.previousFile}:${frame.previousOffset}`;
    const fields = {
      seq: frame.seq,
      root: hex(hash),
      entries: root.entries,
      height: root.height,
      at: `${root.file}:${root.offset}`,
      previous,
    };
    return [{ what: 'root', offset, length: ROOT_FRAME_BYTES, depth: 0, fields }];
  }
  const hashedBytes = head.readUInt32LE(4);
  const length = nodeFrameBytes(hashedBytes, head.readUInt32LE(8));
  if (!head.subarray(0, 4).equals(NODE_TAG) || length > MAX_NODE_BYTES || offset + length > size) return undefined;
  const frame = read(file, offset, length);
  if (nodeFrameProblem(frame, seed, offset) !== undefined) return undefined;
  const node = parseNode(frame, NODE_FRAME_HEAD_BYTES, hashedBytes, true);
  const item = { what: 'node', offset, length, depth: 0 };
  if (typeof node === 'string') return [{ ...item, fields: {}, bad: node }];
  const fields = {
    level: node.level,
    count: node.count,
    entries: node.entries(),
    first: keyText(node, 0),
    last: keyText(node, node.count - 1),
    hash: hex(node.hash()),
  };
  const entries = options.brief === true ? [] : Array.from({ length: node.count }, (_, index) => entryItem(node, index));
  return [{ ...item, what: node.level === 0 ? 'leaf' : 'inner node', fields }, ...entries];
}

function entryItem(node: Node, index: number): InspectItem {
  const key = keyText(node, index);
  if (node.level > 0) {
    const fields = {
      last: key,
      entries: node.entriesBelow(index),
      at: `${node.childFile(index)}:${node.childOffset(index)}`,
      hash: hex(node.childHash(index)),
    };
    return { what: 'child', depth: 1, fields };
  }
  const { seq } = parseTreeKey(node.key(index));
  const { kind, time, supersedes, hash } = new LeafEntry(seq, node.value(index));
  return {
    what: kind === KIND_PUT ? 'version' : 'tombstone',
    depth: 1,
    fields: { key, time: formatTime(time), supersedes, hash: hex(hash) },
  };
}

/** `collection/key@seq`; the key as bytes where it is none of ours. */
function keyText(node: Node, index: number): string {
  const bytes = node.key(index);
  try {
    const { entity, seq } = parseTreeKey(bytes);
    const { collection, key } = splitEntityKey(entity);
    return `${collection}/${key}@${seq}`;
  } catch {
    return hex(bytes);
  }
}

/** Where the next tag begins, or the end. */
function nextTag(file: File, from: number, size: number): number {
  for (let start = from; start < size; start += SEARCH_BYTES) {
    const window = read(file, start, SEARCH_BYTES + NODE_TAG.length - 1);
    const found = [window.indexOf(NODE_TAG), window.indexOf(ROOT_TAG)].filter((at) => at >= 0);
    if (found.length > 0) return start + Math.min(...found);
  }
  return size;
}

function read(file: File, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, file.read(bytes, 0, length, offset));
}
