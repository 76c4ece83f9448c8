/**
 * Names of entities: what is allowed, and how they stand as bytes.
 *
 *   entity     collection 00 key 00
 *   tree key   collection 00 key 00 | 2^48-1 - seq, 6 bytes big-endian
 *
 * In memory an entity is a JS string with one char per byte (latin1), so that it can be a Map key and `<` is byte order.
 *
 * Invariants: neither part contains 00, and each ends in one, so entities `a` and `ab` never interleave and no entity is a
 * prefix of another. Seqs are inverted, so an entity's versions are contiguous, newest first, and the version as of S is the
 * first tree key at or above treeKey(entity, S). The functions that build keys trust their input: check names at the door.
 */
import { assert, VarveError } from '../errors.js';
import { MAX_SEQ } from '../types.js';
import { MAX_COLLECTION_BYTES, MAX_KEY_BYTES, MAX_TREE_KEY_BYTES } from './limits.js';

const COLLECTION = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const SYSTEM_COLLECTION = /^_[A-Za-z0-9_-]{1,63}$/;
const NOT_ASCII = /[^\x00-\x7f]/;
/** With the `u` flag a pair is one character, so this finds lone ones only. */
const LONE_SURROGATE = /[\ud800-\udfff]/u;
const SEQ_BYTES = 6;
const TWO_32 = 2 ** 32;
const COLLECTION_EXPECTED = `a letter, then up to ${MAX_COLLECTION_BYTES - 1} of A-Z a-z 0-9 _ -`;

/** Throws INVALID unless `name` is a collection's name, a system one included. Whether those may be written is not asked here. */
export function checkCollection(name: unknown, path: string | number = 'collection'): asserts name is string {
  // Most inserts name the collection of the one before.
  if (name === lastGood) return;
  if (typeof name === 'string' && (COLLECTION.test(name) || SYSTEM_COLLECTION.test(name))) {
    lastGood = name;
    return;
  }
  const at = placeOf(path, 'collection');
  throw new VarveError('INVALID', `${at}: ${shown(name)} is not a collection name`, { path: at, expected: COLLECTION_EXPECTED });
}

let lastGood = '';

export function isSystemCollection(name: string): boolean {
  return name.charCodeAt(0) === 0x5f;
}

/** Throws INVALID unless `key` is 1–512 bytes of well-formed UTF-8 without control characters, and not `.` or `..`. */
export function checkKey(key: unknown, path: string | number = 'key'): asserts key is string {
  if (typeof key !== 'string') refuseKey(path, `${shown(key)} is not a string`, 'a string');
  if (key.length === 0) refuseKey(path, 'is empty', `1 to ${MAX_KEY_BYTES} bytes`);
  if (key.length > MAX_KEY_BYTES) refuseKey(path, `has more than ${MAX_KEY_BYTES} bytes`, `1 to ${MAX_KEY_BYTES} bytes`);
  let ascii = true;
  for (let i = 0; i < key.length; i++) {
    const c = key.charCodeAt(i);
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) refuseKey(path, `has the control character U+${hex4(c)}`, 'no control characters');
    if (c >= 0x80) ascii = false;
  }
  if (key === '.' || key === '..') refuseKey(path, `'${key}' would be lost in a URL`, 'not . or ..');
  if (ascii) return;
  if (LONE_SURROGATE.test(key)) refuseKey(path, 'has a lone surrogate', 'well-formed Unicode');
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) refuseKey(path, `has more than ${MAX_KEY_BYTES} bytes`, `1 to ${MAX_KEY_BYTES} bytes`);
}

/** One char per byte of: collection 00 key 00. */
export function entityKey(collection: string, key: string): string {
  return `${entityPrefix(collection, key)}\0`;
}

export function entityKeyFromBytes(collection: Uint8Array, key: Uint8Array): string {
  return `${latin1(collection)}\0${latin1(key)}\0`;
}

/** What the entities of a collection begin with, or those of its keys that begin with `keyPrefix`. One char per byte. */
export function entityPrefix(collection: string, keyPrefix = ''): string {
  return `${collection}\0${NOT_ASCII.test(keyPrefix) ? Buffer.from(keyPrefix, 'utf8').toString('latin1') : keyPrefix}`;
}

export function splitEntityKey(entity: string): { collection: string; key: string } {
  const zero = entity.indexOf('\0');
  assert(
    zero > 0 && entity.charCodeAt(entity.length - 1) === 0 && zero < entity.length - 1,
    'an entity is two names, each ended by a zero',
  );
  return { collection: entity.slice(0, zero), key: latin1ToText(entity.slice(zero + 1, -1)) };
}

/** What a string of one char per byte of UTF-8 says. */
export function latin1ToText(bytes: string): string {
  return NOT_ASCII.test(bytes) ? Buffer.from(bytes, 'latin1').toString('utf8') : bytes;
}

/** Written to the start of `into` where given (a view of it is returned), else newly allocated. `seq` may be 0 (after all versions). */
export function treeKey(entity: string, seq: number, into?: Uint8Array): Uint8Array {
  const length = entity.length + SEQ_BYTES;
  assert(length <= MAX_TREE_KEY_BYTES && seq >= 0 && seq <= MAX_SEQ, 'a tree key is of a checked entity and a seq');
  const bytes = into === undefined ? new Uint8Array(length) : into.subarray(0, length);
  assert(bytes.length === length, 'the buffer for a tree key holds it');
  for (let i = 0; i < entity.length; i++) bytes[i] = entity.charCodeAt(i);
  const inverted = MAX_SEQ - seq;
  const high = Math.floor(inverted / TWO_32);
  const low = inverted >>> 0;
  const at = entity.length;
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  bytes[at + 2] = low >>> 24;
  bytes[at + 3] = low >>> 16;
  bytes[at + 4] = low >>> 8;
  bytes[at + 5] = low;
  return bytes;
}

export function parseTreeKey(bytes: Uint8Array): { entity: string; seq: number } {
  return { entity: latin1(bytes.subarray(0, bytes.length - SEQ_BYTES)), seq: treeKeySeq(bytes) };
}

/** The seq alone: nothing is allocated. */
export function treeKeySeq(bytes: Uint8Array): number {
  const at = bytes.length - SEQ_BYTES;
  assert(at >= 4 && bytes[at - 1] === 0, 'a tree key ends in a zero and a seq');
  const high = bytes[at]! * 0x100 + bytes[at + 1]!;
  const low = ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
  return MAX_SEQ - (high * TWO_32 + low);
}

function latin1(bytes: Uint8Array): string {
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)).toString('latin1');
}

/** `path`: a text, or the number of an item in a batch, so that the text is made for what is refused alone. */
function placeOf(path: string | number, part: string): string {
  return typeof path === 'string' ? path : `records[${path}].${part}`;
}

function refuseKey(where: string | number, problem: string, expected: string): never {
  const path = placeOf(where, 'key');
  throw new VarveError('INVALID', `${path}: a key of ${expected} is needed; this one ${problem}`, { path, expected });
}

function hex4(code: number): string {
  return code.toString(16).toUpperCase().padStart(4, '0');
}

/** A value in a message, short and on one line whatever it is. */
function shown(value: unknown): string {
  if (typeof value !== 'string') return value === null ? 'null' : typeof value;
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}
