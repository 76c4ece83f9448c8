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
import { RECORD_FIXED_BYTES, type RecordImage } from './record.js';

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

export const BODY_TAG = Buffer.from('vrv:body', 'latin1');
const RECORD_TAG = Buffer.from('vrv:rec1', 'latin1');
const FIXED_BYTES = RECORD_TAG.length + 8 + 8 + 1 + 2 + 2 + 6 + 2 + HASH_BYTES;
const TAG_HIGH = RECORD_TAG.readUInt32BE(0);
const TAG_LOW = RECORD_TAG.readUInt32BE(4);
const REF_BYTES = 6;
const TWO_32 = 2 ** 32;
const NO_BYTES = new Uint8Array(0);

/** Not a Buffer: a view of a plain Uint8Array is cheaper. */
let scratch = new Uint8Array(FIXED_BYTES + MAX_COLLECTION_BYTES + MAX_KEY_BYTES + MAX_REFS_PER_RECORD * 6);

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

/** Of what the record hash of an image covers. */
export function messageBytes({ at, saltAt }: RecordImage): number {
  return FIXED_BYTES + saltAt - at - RECORD_FIXED_BYTES;
}

/**
 * What the record hash of an image covers, to `into` from `to` on; its last 32 bytes are left for the body hash. Names and refs are taken from `images`, where the image stands `moved` from its place. Returns where it ends.
 */
export function putMessage(
  into: DataView,
  to: number,
  shard: number,
  seq: number,
  time: number,
  supersedes: number,
  image: RecordImage,
  images: DataView,
  moved: number,
): number {
  const { kind, at, keyAt, saltAt } = image;
  const collectionBytes = image.collectionBytes.length;
  into.setUint32(to, TAG_HIGH);
  into.setUint32(to + 4, TAG_LOW);
  into.setUint16(to + 8, shard);
  setU48(into, to + 10, seq);
  into.setUint32(to + 16, Math.floor(time / TWO_32));
  into.setUint32(to + 20, time >>> 0);
  into.setUint8(to + 24, kind);
  let p = to + 25;
  into.setUint16(p, collectionBytes);
  p = copyName(into, p + 2, images, keyAt + moved - collectionBytes, collectionBytes);
  into.setUint16(p, saltAt - keyAt);
  p = copyName(into, p + 2, images, keyAt + moved, saltAt - keyAt);
  setU48(into, p, supersedes);
  p += 6;
  const refsAt = at + RECORD_FIXED_BYTES + moved;
  const refsEnd = keyAt + moved - collectionBytes;
  into.setUint16(p, (refsEnd - refsAt) / REF_BYTES);
  p += 2;
  // Little-endian there, big-endian here.
  for (let ref = refsAt; ref < refsEnd; ref += REF_BYTES, p += REF_BYTES) {
    into.setUint16(p, images.getUint16(ref + 4, true));
    into.setUint32(p + 2, images.getUint32(ref, true));
  }
  return p + HASH_BYTES;
}

function setU48(into: DataView, at: number, value: number): void {
  into.setUint16(at, Math.floor(value / TWO_32));
  into.setUint32(at + 2, value >>> 0);
}

/** Four bytes at a time, so up to three too many on both sides, where other bytes of message and image stand; the message's are written later. */
function copyName(into: DataView, to: number, from: DataView, at: number, length: number): number {
  for (let i = 0; i < length; i += 4) into.setUint32(to + i, from.getUint32(at + i));
  return to + length;
}

/** The record hash of an image with its salt and refs, written to `into[at, at + 32)`. */
export function imageHash(
  shard: number,
  bytes: Uint8Array,
  image: RecordImage,
  seq: number,
  time: number,
  supersedes: number,
  into: Uint8Array,
  at: number,
): void {
  const length = messageBytes(image);
  if (length > scratch.length) scratch = new Uint8Array(length);
  const images = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bodyHashAt = putMessage(new DataView(scratch.buffer), 0, shard, seq, time, supersedes, image, images, 0) - HASH_BYTES;
  if (image.kind === KIND_TOMBSTONE) scratch.set(TOMBSTONE_BODY_HASH, bodyHashAt);
  else blake3Into(scratch, bodyHashAt, BODY_TAG, bytes, image.saltAt, image.end);
  blake3Into(into, at, NO_BYTES, scratch, 0, length);
}

export function recordHash(record: HashedRecord): Buffer {
  return encodeAndHash(record.shard, record, record.bodyHash);
}

function encodeAndHash(shard: number, record: Omit<HashedRecord, 'shard' | 'bodyHash'>, body: Uint8Array): Buffer {
  const { collection, key, refs } = record;
  assert(body.length === HASH_BYTES, 'a body hash has 32 bytes');
  // Limits are the parser's to check; bytes from elsewhere may be over them and still need a hash to be refused by.
  const bytes = FIXED_BYTES + collection.length + key.length + refs.length * 6;
  if (bytes > scratch.length) scratch = new Uint8Array(bytes);
  const into = scratch;
  let at = putHead(into, putBytes(into, 0, RECORD_TAG), shard, record.seq, record.time, record.kind);
  at = putBytes(into, putU16(into, at, collection.length), collection);
  at = putBytes(into, putU16(into, at, key.length), key);
  at = putU48(into, at, record.supersedes);
  at = putU16(into, at, refs.length);
  for (let i = 0; i < refs.length; i++) at = putU48(into, at, refs[i]!);
  at = putBytes(into, at, body);
  return blake3(into.subarray(0, at));
}

function putHead(into: Uint8Array, to: number, shard: number, seq: number, time: number, kind: RecordKind): number {
  const at = putTime(into, putU48(into, putU16(into, to, shard), seq), time);
  into[at] = kind;
  return at + 1;
}

function putU16(into: Uint8Array, at: number, value: number): number {
  into[at] = value >>> 8;
  into[at + 1] = value;
  return at + 2;
}

function putU32(into: Uint8Array, at: number, value: number): number {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
  return at + 4;
}

function putU48(into: Uint8Array, at: number, value: number): number {
  return putU32(into, putU16(into, at, Math.floor(value / TWO_32)), value >>> 0);
}

function putTime(into: Uint8Array, at: number, micros: number): number {
  return putU32(into, putU32(into, at, Math.floor(micros / TWO_32)), micros >>> 0);
}

/** Names are short: a loop beats a call out of JavaScript. */
function putBytes(into: Uint8Array, at: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) into[at + i] = bytes[i]!;
  return at + bytes.length;
}
