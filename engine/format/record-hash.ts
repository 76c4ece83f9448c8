/**
 * What a record's hash covers, byte by byte. Two levels, so that a body can be erased and everything still verifies.
 *
 *   body hash    BLAKE3( "vrv:body" | salt 16 | body )
 *   record hash  BLAKE3( "vrv:rec1" | id u64 | time u64 | kind u8 | collection u16 + bytes | key u16 + bytes
 *                        | supersedes u48 | refs u16 + u48 each | body hash 32 )
 *
 * Integers are big-endian; id is shard (16 bits) and seq (48); supersedes and refs are seqs of the same shard, supersedes 0 for
 * none; names are UTF-8 without their zeros. Lengths come before what varies, so no two records share an encoding.
 *
 * A tombstone has neither salt nor body: its body hash is that of nothing, BLAKE3("vrv:body"), whatever is stored with it.
 * An erased record brings the body hash that was kept in place of salt and body, so its record hash stays what it was.
 */
import { assert } from '../errors.js';
import { KIND_TOMBSTONE, type RecordKind, type StoredRecord } from '../log/types.js';
import { blake3, blake3Into, HASH_BYTES } from './hash.js';
import { MAX_COLLECTION_BYTES, MAX_KEY_BYTES, MAX_REFS_PER_RECORD, SALT_BYTES } from './limits.js';

export interface HashedRecord {
  readonly shard: number;
  readonly seq: number;
  readonly time: number;
  readonly kind: RecordKind;
  readonly collection: Uint8Array;
  readonly key: Uint8Array;
  /** 0 for an entity's first version. */
  readonly supersedes: number;
  readonly refs: readonly number[];
  readonly bodyHash: Uint8Array;
}

const BODY_TAG = Buffer.from('vrv:body', 'latin1');
const RECORD_TAG = Buffer.from('vrv:rec1', 'latin1');
const FIXED_BYTES = RECORD_TAG.length + 8 + 8 + 1 + 2 + 2 + 6 + 2 + HASH_BYTES;
const TWO_32 = 2 ** 32;
const NO_BYTES = new Uint8Array(0);

let scratch = newScratch(FIXED_BYTES + MAX_COLLECTION_BYTES + MAX_KEY_BYTES + MAX_REFS_PER_RECORD * 6);

export const TOMBSTONE_BODY_HASH: Uint8Array = blake3(BODY_TAG);

/** Of a put: 16 bytes of salt. */
export function bodyHash(salt: Uint8Array, body: Uint8Array): Buffer {
  assert(salt.length === SALT_BYTES, 'a body is hashed with its salt');
  return blake3(BODY_TAG, salt, body);
}

/** Whatever a record's state: a tombstone, erased, or with salt and body. */
export function bodyHashOf(record: Pick<StoredRecord, 'kind' | 'salt' | 'body' | 'bodyHash'>): Uint8Array {
  if (record.kind === KIND_TOMBSTONE) return TOMBSTONE_BODY_HASH;
  return record.bodyHash ?? bodyHash(record.salt, record.body);
}

/** Of a record as it stands in a segment of this shard. */
export function storedRecordHash(shard: number, record: StoredRecord): Buffer {
  return encodeAndHash(shard, record, bodyHashOf(record));
}

/** What stands in an arena for a record that is being inserted; `kind` and names as `beginRecordImage` wrote them. */
export interface HashedImage {
  readonly kind: RecordKind;
  readonly collectionBytes: Uint8Array;
  /** Positions in the arena: the key, its end (where a put's salt begins), the body's end. */
  readonly keyAt: number;
  readonly saltAt: number;
  readonly end: number;
}

/** The record hash of an image with its salt, written to `into[at, at + 32)`; nothing is allocated. */
export function imageHash(
  shard: number,
  bytes: Uint8Array,
  image: HashedImage,
  seq: number,
  time: number,
  supersedes: number,
  refs: readonly number[],
  into: Uint8Array,
  at: number,
): void {
  const { kind, collectionBytes: collection, keyAt, saltAt, end } = image;
  const length = FIXED_BYTES + collection.length + (saltAt - keyAt) + refs.length * 6;
  if (length > scratch.length) scratch = newScratch(length);
  let p = putHead(shard, seq, time, kind);
  p = putBytes(putU16(p, collection.length), collection);
  p = putU16(p, saltAt - keyAt);
  for (let i = keyAt; i < saltAt; i++) scratch[p++] = bytes[i]!;
  p = putU48(p, supersedes);
  p = putU16(p, refs.length);
  for (let i = 0; i < refs.length; i++) p = putU48(p, refs[i]!);
  if (kind === KIND_TOMBSTONE) scratch.set(TOMBSTONE_BODY_HASH, p);
  else blake3Into(scratch, p, BODY_TAG, bytes, saltAt, end);
  blake3Into(into, at, NO_BYTES, scratch, 0, p + HASH_BYTES);
}

export function recordHash(record: HashedRecord): Buffer {
  return encodeAndHash(record.shard, record, record.bodyHash);
}

function encodeAndHash(shard: number, record: Omit<HashedRecord, 'shard' | 'bodyHash'>, body: Uint8Array): Buffer {
  const { collection, key, refs } = record;
  assert(body.length === HASH_BYTES, 'a body hash has 32 bytes');
  // Limits are the parser's to check; bytes from elsewhere may be over them and still need a hash to be refused by.
  const bytes = FIXED_BYTES + collection.length + key.length + refs.length * 6;
  if (bytes > scratch.length) scratch = newScratch(bytes);
  let at = putHead(shard, record.seq, record.time, record.kind);
  at = putBytes(putU16(at, collection.length), collection);
  at = putBytes(putU16(at, key.length), key);
  at = putU48(at, record.supersedes);
  at = putU16(at, refs.length);
  for (let i = 0; i < refs.length; i++) at = putU48(at, refs[i]!);
  at = putBytes(at, body);
  return blake3(scratch.subarray(0, at));
}

/** Not a Buffer: a view of a plain Uint8Array is cheaper. */
function newScratch(bytes: number): Uint8Array {
  const fresh = new Uint8Array(bytes);
  fresh.set(RECORD_TAG);
  return fresh;
}

function putHead(shard: number, seq: number, time: number, kind: RecordKind): number {
  const at = putTime(putU48(putU16(RECORD_TAG.length, shard), seq), time);
  scratch[at] = kind;
  return at + 1;
}

function putU16(at: number, value: number): number {
  scratch[at] = value >>> 8;
  scratch[at + 1] = value;
  return at + 2;
}

function putU32(at: number, value: number): number {
  scratch[at] = value >>> 24;
  scratch[at + 1] = value >>> 16;
  scratch[at + 2] = value >>> 8;
  scratch[at + 3] = value;
  return at + 4;
}

function putU48(at: number, value: number): number {
  return putU32(putU16(at, Math.floor(value / TWO_32)), value >>> 0);
}

function putTime(at: number, micros: number): number {
  return putU32(putU32(at, Math.floor(micros / TWO_32)), micros >>> 0);
}

/** Names are short: a loop beats a call out of JavaScript. */
function putBytes(at: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) scratch[at + i] = bytes[i]!;
  return at + bytes.length;
}
