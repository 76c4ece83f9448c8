/**
 * What an insert of many answers, as JSON text in bytes: the same fields in the same order as a record's toJSON, written without a
 * string or an object a record.
 *
 *   {"id":"<16 hex>","shard":1,"seq":7,"time":"…","collection":"c","key":"k","supersedes":null,"refs":[],"deleted":false,"hash":"<64 hex>"}
 *
 * Texts that come again and hex digits are written words at a time, up to three bytes too many, which what comes behind them covers.
 *
 * Invariant: room for the longest a record can be, and a word more, is there before it is written.
 */
import { HASH_BYTES } from './format/hash.js';
import { SpareMemory } from './format/spare-memory.js';
import type { InsertedBatch } from './record-view.js';
import { recordId } from './types.js';

const WORD_BYTES = 4;
/** The two digits of a byte. */
const HEX = Uint16Array.from({ length: 256 }, (_, byte) => (digit(byte >> 4) << 8) | digit(byte & 15));
const ID = fixedText('{"id":"');
const PLAIN_TAIL = fixedText('","supersedes":null,"refs":[],"deleted":false,"hash":"');
const END = fixedText('"}');
/** Of everything in a record but its collection, its key and its refs. */
const FIXED_BYTES = 320;
/** A UTF-16 unit of a key in JSON and UTF-8. */
const UNIT_BYTES = 6;
const REF_BYTES = 19;
const MILLION = 1e6;
const TWO_32 = 2 ** 32;

const memory = new SpareMemory();

/** Whoever got bytes of `insertedJson`, and is done with them, may say so. */
export function giveBackJson(bytes: Uint8Array): void {
  memory.giveBack(bytes);
}

/** The records of a batch between `open` and `close` (ASCII), commas between them. Whoever gets the bytes may keep them. */
export function insertedJson(batch: InsertedBatch, open: string, close: string): Buffer {
  const { items, shard, firstSeq, supersedes, hashes } = batch;
  const whole = memory.take(roomFor(batch) + open.length + close.length);
  const bytes = new Uint8Array(whole.buffer);
  const view = new DataView(whole.buffer);
  let at = putAscii(bytes, 0, open);
  const shardToSeq = fixedText(`","shard":${shard},"seq":`);
  let collection: string | undefined;
  let timeToKey = END;
  for (let i = 0; i < items.length; i++) {
    const item = items[i]!;
    const seq = firstSeq + i;
    if (i > 0) bytes[at++] = 0x2c;
    at = putFixed(view, at, ID);
    at = putId(view, at, shard, seq);
    at = putFixed(view, at, shardToSeq);
    at = putSeq(bytes, at, seq);
    if (item.collection !== collection || batch.isEach) {
      collection = item.collection;
      timeToKey = fixedText(`,"time":"${batch.timeText(i)}","collection":"${collection}","key":"`);
    }
    at = putFixed(view, at, timeToKey);
    const { keySource } = item;
    at = keySource === undefined ? putKey(whole, bytes, at, item.key) : putRaw(bytes, at, keySource, item.keyFrom!, item.keyTo!);
    const refs = batch.refsOf(i);
    const replaced = supersedes[i]!;
    if (replaced === 0 && refs.length === 0 && !item.deleted) at = putFixed(view, at, PLAIN_TAIL);
    else {
      const previous = replaced === 0 ? 'null' : `"${recordId(shard, replaced)}"`;
      const ids = refs.map((ref) => `"${recordId(shard, ref)}"`).join(',');
      at = putAscii(bytes, at, `","supersedes":${previous},"refs":[${ids}],"deleted":${item.deleted},"hash":"`);
    }
    for (let j = i * HASH_BYTES; j < (i + 1) * HASH_BYTES; j += 2, at += WORD_BYTES)
      view.setInt32(at, (HEX[hashes[j]!]! << 16) | HEX[hashes[j + 1]!]!);
    at = putFixed(view, at, END);
  }
  at = putAscii(bytes, at, close);
  return whole.subarray(0, at);
}

function roomFor(batch: InsertedBatch): number {
  const { items } = batch;
  let room = 0;
  for (let i = 0; i < items.length; i++) {
    const item = items[i]!;
    const keyBytes = item.keySource === undefined ? item.key.length * UNIT_BYTES : item.keyTo! - item.keyFrom!;
    room += FIXED_BYTES + item.collection.length + keyBytes + batch.refsOf(i).length * REF_BYTES;
  }
  return room;
}

/** Text that is written again and again, padded to whole words. */
interface FixedText {
  readonly view: DataView;
  readonly length: number;
}

function fixedText(text: string): FixedText {
  const { length } = text;
  const padded = new TextEncoder().encode(text.padEnd(Math.ceil(length / WORD_BYTES) * WORD_BYTES));
  return { view: new DataView(padded.buffer, padded.byteOffset, padded.length), length };
}

function putFixed(into: DataView, at: number, { view, length }: FixedText): number {
  for (let i = 0; i < length; i += WORD_BYTES) into.setInt32(at + i, view.getInt32(i));
  return at + length;
}

function putAscii(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** A key without escapes, as it stood in JSON. */
function putRaw(bytes: Uint8Array, at: number, source: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; i++, at++) bytes[at] = source[i]!;
  return at;
}

/** `whole` and `bytes` are the same memory. */
function putKey(whole: Buffer, bytes: Uint8Array, at: number, key: string): number {
  for (let i = 0; i < key.length; i++) {
    const c = key.charCodeAt(i);
    if (c < 0x20 || c > 0x7e || c === 0x22 || c === 0x5c) return at + whole.write(JSON.stringify(key).slice(1, -1), at, 'utf8');
    bytes[at + i] = c;
  }
  return at + key.length;
}

/** 16 hex digits. */
function putId(view: DataView, at: number, shard: number, seq: number): number {
  const high = Math.floor(seq / TWO_32);
  putHex4(view, at, shard);
  putHex4(view, at + 4, high);
  putHex4(view, at + 8, (seq >>> 16) & 0xffff);
  putHex4(view, at + 12, seq & 0xffff);
  return at + 16;
}

/** Of 16 bits. */
function putHex4(view: DataView, at: number, half: number): void {
  view.setInt32(at, (HEX[half >>> 8]! << 16) | HEX[half & 0xff]!);
}

/** Millions as text, then six digits: whole numbers of 32 bits are the quick ones. */
function putSeq(bytes: Uint8Array, at: number, seq: number): number {
  const millions = Math.floor(seq / MILLION);
  if (millions === 0) return putAscii(bytes, at, `${seq}`);
  const digitsAt = millions === lastMillions ? putAscii(bytes, at, millionsText) : putMillions(bytes, at, millions);
  let rest = seq - millions * MILLION;
  for (let i = digitsAt + 5; i >= digitsAt; i--) {
    const tenth = (rest / 10) | 0;
    bytes[i] = 0x30 + rest - tenth * 10;
    rest = tenth;
  }
  return digitsAt + 6;
}

let lastMillions = 0;
let millionsText = '';

function putMillions(bytes: Uint8Array, at: number, millions: number): number {
  lastMillions = millions;
  millionsText = `${millions}`;
  return putAscii(bytes, at, millionsText);
}

/** The character code of a hex digit. */
function digit(value: number): number {
  return value.toString(16).charCodeAt(0);
}
