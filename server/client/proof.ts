/**
 * Checks that a record belongs to a root, without a server: nothing is taken on trust but the 32 bytes of the root.
 *
 *   salt + canonical body ─▶ body hash ─▶ record hash ─▶ leaf entry ─▶ node ─▶ … ─▶ root
 *
 * The record's every field is hashed anew from the proof, the leaf must hold that hash under the record's own key, and each node above
 * must name the hash of the one below. The bytes may be anything: every length is checked before it is used.
 */
import { blake3 } from './blake3.js';
import { canonicalJson } from './canonical.js';
import type { JsonValue, Proof, VarveRecord } from './types.js';

const HASH_BYTES = 32;
const MAX_SEQ = 2 ** 48 - 1;
const NODE_HEADER_BYTES = 8;
const LEAF_MARK = 0x4c;
const INNER_MARK = 0x49;
const LEAF_VALUE_BYTES = 47;
const INNER_VALUE_BYTES = 38;
const MAX_NODES = 61;
const KIND_PUT = 1;
const KIND_TOMBSTONE = 2;

const encoder = new TextEncoder();
const BODY_TAG = encoder.encode('vrv:body');
const RECORD_TAG = encoder.encode('vrv:rec1');
const LEAF_TAG = encoder.encode('varve tree leaf 1\0');
const INNER_TAG = encoder.encode('varve tree inner 1\0');

/** Whether `proof` shows that its record, with this body, belongs to the content that `root` names. Take `root` from whom you trust. */
export function verifyProof(proof: Proof<unknown>, root: string): boolean {
  return proofProblem(proof, root) === undefined;
}

/** What is wrong with a proof, in words; undefined where it holds. */
export function proofProblem(proof: Proof<unknown>, root: string): string | undefined {
  try {
    return check(proof, root);
  } catch (error) {
    return `it is malformed: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function check({ record, salt, bodyHash, path, seq, root: claimed }: Proof<unknown>, root: string): string | undefined {
  if (!/^[0-9a-f]{64}$/.test(root)) return 'the root is not 64 hex digits';
  if (claimed !== root) return 'it is of another root';
  if (!Number.isSafeInteger(seq) || record.seq > seq) return 'the root does not reach as far as the record';
  const id = record.shard.toString(16).padStart(4, '0') + record.seq.toString(16).padStart(12, '0');
  if (record.id !== id) return 'the id is not that of its shard and seq';
  const body = bodyHashOf(record, salt, bodyHash);
  if (typeof body === 'string') return body;
  const hash = recordHash(record, body);
  if (hex(hash) !== record.hash) return 'the fields do not hash to the hash of the record';
  return checkPath(treeKey(record), leafValue(record, hash), path, root);
}

function bodyHashOf(record: VarveRecord<unknown>, salt: string | undefined, bodyHash: string | undefined): Uint8Array | string {
  if (record.deleted) return 'body' in record ? 'a tombstone has no body' : blake3(BODY_TAG);
  if (salt !== undefined) {
    if (!('body' in record)) return 'the body is missing';
    return blake3(BODY_TAG, unhex(salt, 16), encoder.encode(canonicalJson(record.body as JsonValue)));
  }
  if ('body' in record) return 'the body is tied to nothing: there is no salt';
  return unhex(bodyHash ?? '', HASH_BYTES);
}

/** Integers big-endian; a length before whatever varies. */
function recordHash(record: VarveRecord<unknown>, body: Uint8Array): Uint8Array {
  const out = new Writer();
  out.bytes(RECORD_TAG);
  out.uint(record.shard, 2);
  out.uint(record.seq, 6);
  out.uint(microsOf(record.time), 8);
  out.uint(record.deleted ? KIND_TOMBSTONE : KIND_PUT, 1);
  for (const name of [record.collection, record.key]) {
    const bytes = encoder.encode(name);
    out.uint(bytes.length, 2);
    out.bytes(bytes);
  }
  out.uint(seqOf(record, record.supersedes), 6);
  out.uint(record.refs.length, 2);
  for (const ref of record.refs) out.uint(seqOf(record, ref), 6);
  out.bytes(body);
  return blake3(out.take());
}

/** collection 00 key 00 | 2^48-1 - seq */
function treeKey({ collection, key, seq }: VarveRecord<unknown>): Uint8Array {
  const out = new Writer();
  for (const name of [collection, key]) {
    if (name.includes('\0')) throw new Error('a name holds a zero');
    out.bytes(encoder.encode(name));
    out.uint(0, 1);
  }
  out.uint(MAX_SEQ - seq, 6);
  return out.take();
}

/** hash | kind | time | supersedes, the numbers little-endian. */
function leafValue(record: VarveRecord<unknown>, hash: Uint8Array): Uint8Array {
  const out = new Writer();
  out.bytes(hash);
  out.uint(record.deleted ? KIND_TOMBSTONE : KIND_PUT, 1);
  out.bytes(uint(microsOf(record.time), 8).reverse());
  out.bytes(uint(seqOf(record, record.supersedes), 6).reverse());
  return out.take();
}

function checkPath(key: Uint8Array, value: Uint8Array, path: readonly string[], root: string): string | undefined {
  if (path.length === 0 || path.length > MAX_NODES) return 'the path has an impossible length';
  let proven = value;
  for (const [level, text] of path.entries()) {
    const node = unbase64(text);
    const found = entryFor(node, level, key);
    if (found === undefined)
      return level === 0 ? 'the leaf does not hold the record' : `the node at level ${level} does not reach the record`;
    if (level === 0 && !equal(found.key, key)) return 'the leaf does not hold the record';
    // Of an inner node's value the child's hash; the count of entries behind it is hashed with the node.
    if (!equal(found.value.subarray(0, proven.length), proven))
      return `the node at level ${level} names another ${level === 0 ? 'version' : 'child'}`;
    proven = blake3(level === 0 ? LEAF_TAG : INNER_TAG, node);
  }
  return hex(proven) === root ? undefined : 'the path leads to another root';
}

/** The first entry whose key is at or above `key`, in a node of this level; undefined where there is none. Throws for bytes that are no node. */
function entryFor(node: Uint8Array, level: number, key: Uint8Array): { key: Uint8Array; value: Uint8Array } | undefined {
  const view = new DataView(node.buffer, node.byteOffset, node.length);
  const valueBytes = level === 0 ? LEAF_VALUE_BYTES : INNER_VALUE_BYTES;
  const count = view.getUint16(2, true);
  const prefixBytes = view.getUint16(4, true);
  const isNode = node[0] === (level === 0 ? LEAF_MARK : INNER_MARK) && node[1] === level && view.getUint16(6, true) === valueBytes;
  const endsAt = NODE_HEADER_BYTES + prefixBytes;
  const restsAt = endsAt + 2 * count;
  const valuesAt = node.length - count * valueBytes;
  if (!isNode || count === 0 || valuesAt < restsAt) throw new Error(`there is no node of level ${level}`);
  const prefix = node.subarray(NODE_HEADER_BYTES, endsAt);
  let start = restsAt;
  for (let index = 0; index < count; index++) {
    const end = restsAt + view.getUint16(endsAt + 2 * index, true);
    if (end < start || end > valuesAt) throw new Error('a key leaves its node');
    const own = new Uint8Array(prefixBytes + end - start);
    own.set(prefix);
    own.set(node.subarray(start, end), prefixBytes);
    if (compare(own, key) >= 0)
      return { key: own, value: node.subarray(valuesAt + index * valueBytes, valuesAt + (index + 1) * valueBytes) };
    start = end;
  }
  return undefined;
}

/** 0 for none; an id of another shard is none that this record can name. */
function seqOf(record: VarveRecord<unknown>, id: string | null): number {
  if (id === null) return 0;
  if (!/^[0-9a-f]{16}$/.test(id) || Number.parseInt(id.slice(0, 4), 16) !== record.shard) throw new Error(`${id} is no id of its shard`);
  return Number.parseInt(id.slice(4), 16);
}

function microsOf(time: string): number {
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\.(\d{6})Z$/.exec(time);
  const seconds = match === null ? Number.NaN : Date.parse(`${match[1]}Z`);
  if (match === null || Number.isNaN(seconds)) throw new Error(`'${time}' is no time`);
  return seconds * 1000 + Number(match[2]);
}

class Writer {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  bytes(part: Uint8Array): void {
    this.#parts.push(part);
    this.#length += part.length;
  }

  /** Big-endian. */
  uint(value: number, bytes: number): void {
    this.bytes(uint(value, bytes));
  }

  take(): Uint8Array {
    const whole = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

function uint(value: number, bytes: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0 || value >= 2 ** (bytes * 8)) throw new Error(`${value} does not fit`);
  const out = new Uint8Array(bytes);
  let rest = value;
  for (let at = bytes - 1; at >= 0; at--) {
    out[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return out;
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return compare(a, b) === 0;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function unhex(text: string, bytes: number): Uint8Array {
  if (text.length !== bytes * 2 || !/^[0-9a-f]*$/.test(text)) throw new Error(`'${text.slice(0, 80)}' is not ${bytes} bytes in hex`);
  return Uint8Array.from({ length: bytes }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

function unbase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
