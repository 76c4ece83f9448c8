/**
 * One record inside a frame: bytes to value and back. Self-contained: one positional read of a record's bytes gives
 * all of it, with a checksum of its own, whatever became of the frame around it. Layout in docs/FORMAT.md.
 *
 *   tag kind flags 0 | length | seq | supersedes | time | batch end | lengths | refs collection key salt/body hash body | crc
 *
 * Decoding takes any bytes: `undefined` means they are no whole, sound record; nothing is believed beyond `end`.
 */
import { assert } from '../errors.js';
import type { KnownHashes, NewRecord, ReadRecord, RecordKind, StoredRecord } from '../log/types.js';
import { KIND_PUT, KIND_TOMBSTONE } from '../log/types.js';
import { type JsonValue, MAX_SEQ } from '../types.js';
import type { ByteArena } from './byte-arena.js';
import { clear, getU16, getU32, getU48, getU64, MAX_SAFE, putU16, putU32, putU48, putU64, utf8Text, view } from './bytes.js';
import { crc32 } from './checksum.js';
import { HASH_BYTES } from './hash.js';
import { SALT_BYTES } from './limits.js';
import { parseShaped } from './shaped-json.js';

export const RECORD_TAG = 0xa1;
/** Before refs. */
export const RECORD_FIXED_BYTES = 40;
const CRC_BYTES = 4;
export const RECORD_MIN_BYTES = RECORD_FIXED_BYTES + CRC_BYTES;
const REF_BYTES = 6;
const FLAG_ERASED = 1;
const FLAG_SALTED = 2;
export const RECORD_SEQ_AT = 8;
export const RECORD_SUPERSEDES_AT = 14;
export const RECORD_TIME_AT = 20;
export const RECORD_BATCH_END_AT = 28;
const RECORD_REFS_AT = 36;
const MAX_U16 = 0xffff;
const TWO_32 = 2 ** 32;

const NO_REFS: readonly number[] = Object.freeze([]);
const NO_BYTES: Uint8Array = Buffer.alloc(0);

/** Of the record at `at`, whose length was checked. */
export function recordHasRefs(bytes: Uint8Array, at: number): boolean {
  return getU16(bytes, at + RECORD_REFS_AT) > 0;
}

export function recordBytes(record: NewRecord): number {
  return (
    RECORD_MIN_BYTES +
    record.refs.length * REF_BYTES +
    record.collection.length +
    record.key.length +
    record.salt.length +
    record.body.length
  );
}

/** Writes the record at `at`; the caller has made room for `recordBytes`. Returns the position after it. */
export function encodeRecord(
  into: Uint8Array,
  at: number,
  record: NewRecord,
  seq: number,
  time: number,
  batchEndSeq: number,
  seed: number,
): number {
  const { collection, key, body, salt, refs } = record;
  assert(collection.length <= MAX_U16 && key.length <= MAX_U16 && refs.length <= MAX_U16, 'a record fits its length fields');
  assert(salt.length === SALT_BYTES || salt.length === 0, 'a salt has 16 bytes or none');
  assert(record.kind === KIND_PUT || body.length === 0, 'a tombstone has no body');
  assert(seq <= batchEndSeq && record.supersedes < seq, 'seqs of a record are in order');
  const length = recordBytes(record);
  into[at] = RECORD_TAG;
  into[at + 1] = record.kind;
  into[at + 2] = salt.length === 0 ? 0 : FLAG_SALTED;
  into[at + 3] = 0;
  putU32(into, at + 4, length);
  putU48(into, at + RECORD_SEQ_AT, seq);
  putU48(into, at + RECORD_SUPERSEDES_AT, record.supersedes);
  putU64(into, at + RECORD_TIME_AT, time);
  putU32(into, at + RECORD_BATCH_END_AT, batchEndSeq - seq);
  putU16(into, at + 32, collection.length);
  putU16(into, at + 34, key.length);
  putU16(into, at + 36, refs.length);
  putU16(into, at + 38, 0);
  let p = at + RECORD_FIXED_BYTES;
  for (let i = 0; i < refs.length; i++, p += REF_BYTES) {
    assert(refs[i]! > 0 && refs[i]! < seq, 'a ref points backwards');
    putU48(into, p, refs[i]!);
  }
  into.set(collection, p);
  into.set(key, (p += collection.length));
  into.set(salt, (p += key.length));
  into.set(body, (p += salt.length));
  p += body.length;
  putU32(into, p, crc32(view(into, at, p), seed));
  return p + CRC_BYTES;
}

/**
 * Begins a record as it will stand in its frame, at the end of an arena. `stampImages` fills in seq, times and checksum once they are
 * known, the caller refs and salt (left as they are until then) and the body: it goes to the arena's end, then `endRecordImage`.
 * Returns where the key ends, and the salt of a put begins.
 */
export function beginRecordImage(arena: ByteArena, kind: RecordKind, refCount: number, collection: Uint8Array, key: string): number {
  const at = arena.end;
  arena.reserve(RECORD_FIXED_BYTES + refCount * REF_BYTES + collection.length + key.length * 3 + SALT_BYTES);
  const { bytes } = arena;
  const keyAt = imageKeyAt(at, refCount, collection.length);
  const keyEnd = keyAt + putUtf8(bytes, keyAt, key);
  putImageHead(bytes, at, kind, refCount, collection, keyAt, keyEnd);
  arena.end = kind === KIND_PUT ? keyEnd + SALT_BYTES : keyEnd;
  return keyEnd;
}

/**
 * The same for a put without refs whose key is bytes already, `source[from, to)`; its image begins at `at`, and what stands there, its
 * body, moves behind the salt.
 */
export function openRecordImage(
  arena: ByteArena,
  at: number,
  collection: Uint8Array,
  source: Uint8Array,
  from: number,
  to: number,
): number {
  const keyAt = imageKeyAt(at, 0, collection.length);
  const keyEnd = keyAt + to - from;
  const bodyAt = keyEnd + SALT_BYTES;
  const bodyBytes = arena.end - at;
  arena.reserve(bodyAt - at);
  const { bytes } = arena;
  if (bodyBytes > 0) bytes.copyWithin(bodyAt, at, at + bodyBytes);
  for (let i = from, p = keyAt; i < to; i++, p++) bytes[p] = source[i]!;
  putImageHead(bytes, at, KIND_PUT, 0, collection, keyAt, keyEnd);
  arena.end = bodyAt + bodyBytes;
  return keyEnd;
}

/** What of an image stands before its key. */
function putImageHead(
  bytes: Uint8Array,
  at: number,
  kind: RecordKind,
  refCount: number,
  collection: Uint8Array,
  keyAt: number,
  keyEnd: number,
): void {
  for (let i = 0, p = keyAt - collection.length; i < collection.length; i++) bytes[p + i] = collection[i]!;
  assert(collection.length <= MAX_U16 && keyEnd - keyAt <= MAX_U16 && refCount <= MAX_U16, 'a record fits its length fields');
  clear(bytes, at, at + RECORD_FIXED_BYTES);
  bytes[at] = RECORD_TAG;
  bytes[at + 1] = kind;
  bytes[at + 2] = kind === KIND_PUT ? FLAG_SALTED : 0;
  putU16(bytes, at + 32, collection.length);
  putU16(bytes, at + 34, keyEnd - keyAt);
  putU16(bytes, at + 36, refCount);
}

/** A record that is being inserted, as it stands in an arena. */
export interface RecordImage {
  readonly kind: RecordKind;
  readonly collectionBytes: Uint8Array;
  /** Positions in the arena: of the image, its key, the key's end (where a put's salt begins), the body's end. */
  readonly at: number;
  readonly keyAt: number;
  readonly saltAt: number;
  readonly end: number;
}

/** Where the key of the image at `at` begins. */
export function imageKeyAt(at: number, refCount: number, collectionBytes: number): number {
  return at + RECORD_FIXED_BYTES + refCount * REF_BYTES + collectionBytes;
}

/** The body is written. Returns where it ends. */
export function endRecordImage(arena: ByteArena, at: number): number {
  const bodyEnd = arena.end;
  arena.reserve(CRC_BYTES);
  arena.end += CRC_BYTES;
  putU32(arena.bytes, at + 4, arena.end - at);
  return bodyEnd;
}

/** Short names are the rule: a loop beats a call out of JavaScript. Returns how many bytes it wrote. */
function putUtf8(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x80) return Buffer.from(bytes.buffer, bytes.byteOffset).write(text, at, 'utf8');
    bytes[at + i] = c;
  }
  return text.length;
}

/** The refs of the image at `at`. `placeHead` holds them to the seq. */
export function putImageRefs(bytes: Uint8Array, at: number, refs: readonly number[]): void {
  for (let i = 0; i < refs.length; i++) putU48(bytes, at + RECORD_FIXED_BYTES + i * REF_BYTES, refs[i]!);
}

/** What of the image at `at` was open until its place is known, but for the checksum. */
export function placeHead(into: DataView, at: number, seq: number, supersedes: number, time: number, batchEndSeq: number): void {
  assert(into.getUint8(at) === RECORD_TAG && seq <= batchEndSeq && supersedes < seq, 'seqs of a record are in order');
  setU48(into, at + RECORD_SEQ_AT, seq);
  setU48(into, at + RECORD_SUPERSEDES_AT, supersedes);
  into.setUint32(at + RECORD_TIME_AT, time >>> 0, true);
  into.setUint32(at + RECORD_TIME_AT + 4, Math.floor(time / TWO_32), true);
  into.setUint32(at + RECORD_BATCH_END_AT, batchEndSeq - seq, true);
  const refsEnd = at + RECORD_FIXED_BYTES + into.getUint16(at + RECORD_REFS_AT, true) * REF_BYTES;
  for (let p = at + RECORD_FIXED_BYTES; p < refsEnd; p += REF_BYTES) {
    const ref = into.getUint32(p, true) + into.getUint16(p + 4, true) * TWO_32;
    assert(ref > 0 && ref < seq, 'a ref points backwards');
  }
}

function setU48(into: DataView, at: number, value: number): void {
  into.setUint32(at, value >>> 0, true);
  into.setUint16(at + 4, Math.floor(value / TWO_32), true);
}

/** Completes the image at `at`. Returns the position after it. */
export function placeRecord(
  into: Uint8Array,
  at: number,
  seq: number,
  supersedes: number,
  time: number,
  batchEndSeq: number,
  seed: number,
): number {
  placeHead(new DataView(into.buffer, into.byteOffset, into.byteLength), at, seq, supersedes, time, batchEndSeq);
  const end = at + getU32(into, at + 4);
  putU32(into, end - CRC_BYTES, crc32(new Uint8Array(into.buffer, into.byteOffset + at, end - CRC_BYTES - at), seed));
  return end;
}

/** Length of the record that may begin at `at`, or 0 where none can that ends by `end`. Nothing else is checked. */
export function recordLengthAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + RECORD_MIN_BYTES > end || bytes[at] !== RECORD_TAG) return 0;
  const length = getU32(bytes, at + 4);
  return length >= RECORD_MIN_BYTES && length <= end - at ? length : 0;
}

/** Whether the record's own checksum passes; `length` as `recordLengthAt` gave it. */
export function recordIsIntact(bytes: Uint8Array, at: number, length: number, seed: number): boolean {
  return crc32(view(bytes, at, at + length - CRC_BYTES), seed) === getU32(bytes, at + length - CRC_BYTES);
}

/** The record in `bytes[at, at + length)`, its byte fields views of `bytes`; undefined where its structure is unsound. Checks no checksum. */
export function decodeRecord(bytes: Uint8Array, at: number, length: number): ReadRecord | undefined {
  const kind = bytes[at + 1]! as RecordKind;
  const flags = bytes[at + 2]!;
  const seq = getU48(bytes, at + RECORD_SEQ_AT);
  const supersedes = getU48(bytes, at + RECORD_SUPERSEDES_AT);
  const time = getU64(bytes, at + RECORD_TIME_AT);
  const batchEndSeq = seq + getU32(bytes, at + RECORD_BATCH_END_AT);
  const refCount = getU16(bytes, at + 36);
  if ((kind !== KIND_PUT && kind !== KIND_TOMBSTONE) || flags > FLAG_SALTED || bytes[at + 3] !== 0 || getU16(bytes, at + 38) !== 0)
    return undefined;
  if (seq === 0 || supersedes >= seq || time > MAX_SAFE || batchEndSeq > MAX_SEQ) return undefined;
  const refsAt = at + RECORD_FIXED_BYTES;
  const collectionAt = refsAt + refCount * REF_BYTES;
  const keyAt = collectionAt + getU16(bytes, at + 32);
  const proofAt = keyAt + getU16(bytes, at + 34);
  const bodyAt = proofAt + (flags === FLAG_SALTED ? SALT_BYTES : flags === FLAG_ERASED ? HASH_BYTES : 0);
  const bodyEnd = at + length - CRC_BYTES;
  if (bodyAt > bodyEnd || (bodyAt < bodyEnd && (kind === KIND_TOMBSTONE || flags === FLAG_ERASED))) return undefined;
  let refs = NO_REFS;
  if (refCount > 0) {
    const list = new Array<number>(refCount);
    for (let i = 0; i < refCount; i++) {
      const ref = getU48(bytes, refsAt + i * REF_BYTES);
      if (ref === 0 || ref >= seq) return undefined;
      list[i] = ref;
    }
    refs = list;
  }
  return new DecodedRecord(bytes, { kind, seq, time, batchEndSeq, supersedes, refs }, flags, collectionAt, keyAt, proofAt, bodyAt, bodyEnd);
}

/** Byte fields become views when asked for: most readers want the body alone. */
class DecodedRecord implements ReadRecord {
  readonly kind: RecordKind;
  readonly seq: number;
  readonly time: number;
  readonly batchEndSeq: number;
  readonly supersedes: number;
  readonly refs: readonly number[];
  known: KnownHashes | undefined = undefined;
  readonly #bytes: Buffer;
  readonly #flags: number;
  readonly #collectionAt: number;
  readonly #keyAt: number;
  readonly #proofAt: number;
  readonly #bodyAt: number;
  readonly #end: number;

  constructor(
    bytes: Uint8Array,
    head: Pick<StoredRecord, 'kind' | 'seq' | 'time' | 'batchEndSeq' | 'supersedes' | 'refs'>,
    flags: number,
    collectionAt: number,
    keyAt: number,
    proofAt: number,
    bodyAt: number,
    end: number,
  ) {
    this.kind = head.kind;
    this.seq = head.seq;
    this.time = head.time;
    this.batchEndSeq = head.batchEndSeq;
    this.supersedes = head.supersedes;
    this.refs = head.refs;
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : view(bytes, 0, bytes.length);
    this.#flags = flags;
    this.#collectionAt = collectionAt;
    this.#keyAt = keyAt;
    this.#proofAt = proofAt;
    this.#bodyAt = bodyAt;
    this.#end = end;
  }

  get collection(): Buffer {
    return view(this.#bytes, this.#collectionAt, this.#keyAt);
  }

  get key(): Buffer {
    return view(this.#bytes, this.#keyAt, this.#proofAt);
  }

  get body(): Buffer {
    return view(this.#bytes, this.#bodyAt, this.#end);
  }

  get collectionText(): string {
    return this.#bytes.toString('latin1', this.#collectionAt, this.#keyAt);
  }

  get keyText(): string {
    return utf8Text(this.#bytes, this.#keyAt, this.#proofAt);
  }

  get bodyText(): string {
    return utf8Text(this.#bytes, this.#bodyAt, this.#end);
  }

  get bodyValue(): JsonValue {
    return parseShaped(this.#bytes, this.#bodyAt, this.#end);
  }

  isOf(entity: string): boolean {
    const bytes = this.#bytes;
    const from = this.#collectionAt;
    const collectionBytes = this.#keyAt - from;
    const keyBytes = this.#proofAt - this.#keyAt;
    if (entity.length !== collectionBytes + keyBytes + 2 || entity.charCodeAt(collectionBytes) !== 0) return false;
    // Keys differ near their ends.
    for (let i = keyBytes - 1, at = collectionBytes + 1; i >= 0; i--)
      if (bytes[this.#keyAt + i] !== entity.charCodeAt(at + i)) return false;
    for (let i = 0; i < collectionBytes; i++) if (bytes[from + i] !== entity.charCodeAt(i)) return false;
    return true;
  }

  get salt(): Uint8Array {
    return this.#flags === FLAG_SALTED ? view(this.#bytes, this.#proofAt, this.#bodyAt) : NO_BYTES;
  }

  get bodyHash(): Uint8Array | undefined {
    return this.#flags === FLAG_ERASED ? view(this.#bytes, this.#proofAt, this.#bodyAt) : undefined;
  }
}
