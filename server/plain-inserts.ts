/**
 * Inserts that say a collection, a key and a body and nothing else, read from the bytes of a request in one pass: the bodies come out
 * canonical, and no value is made of anything. Most of what is loaded is such.
 *
 *   {"records":[{"collection":"c","key":"k","body":…},…]}        {"collection":"c","key":"k","body":…}
 *
 * Invariants: it takes only what the way by parseStrict and the schemas takes too, with the same outcome; `undefined` is no verdict:
 * whatever is unusual or wrong (any other field, an escape in a name, a body over its limit) goes that way, and hears from it what is
 * wrong and where. They lie in memory that is used again: `release` once the engine has taken them, or nobody will.
 */
import { isUtf8 } from 'node:buffer';
import { InsertImages } from '../engine/index.js';
import type { Line } from './ndjson.js';

export interface PlainInserts {
  readonly images: InsertImages;
  release(): void;
}

const COLLECTION = asciiBytes('"collection"');
const KEY = asciiBytes('"key"');
const BODY = asciiBytes('"body"');
const IDEMPOTENCY_KEY = asciiBytes('"idempotencyKey"');
const RECORDS = asciiBytes('"records"');
const COLLECTION_FIELD = 1;
const KEY_FIELD = 2;
const BODY_FIELD = 4;
const IDEMPOTENCY_FIELD = 8;
const NAME_FIELDS = COLLECTION_FIELD | KEY_FIELD;
const ALL_FIELDS = NAME_FIELDS | BODY_FIELD;
const NOTHING = Buffer.alloc(0);

/** A batch, whole. */
export function readPlainBatch(bytes: Buffer, maxBodyBytes: number): PlainInserts | undefined {
  const reader = new PlainReader(maxBodyBytes, false, false);
  reader.open(bytes);
  return reader.batch() ? reader : reader.release();
}

export interface PlainLine extends PlainInserts {
  readonly idempotencyKey: string | undefined;
}

/** One line, which may have an idempotency key too. */
export function readPlainLine(bytes: Buffer, maxBodyBytes: number): PlainLine | undefined {
  const reader = new PlainReader(maxBodyBytes, false, true);
  reader.open(bytes);
  return reader.line(0, bytes.length) ? reader : reader.release();
}

export interface LineBounds {
  readonly maxLines: number;
  /** Once they have so many bytes there is no further line. */
  readonly maxBytes: number;
  readonly maxBodyBytes: number;
  mayUse(collection: string): boolean;
}

/** The lines from `from` on, an item each, up to the first that is no plain one or not for this caller to insert. */
export function readPlainLines(lines: readonly Line[], from: number, bounds: LineBounds): PlainInserts & { readonly bytes: number } {
  const { maxLines, maxBytes, maxBodyBytes, mayUse } = bounds;
  const reader = new PlainReader(maxBodyBytes, true, false);
  const { images } = reader;
  const { items } = images;
  const until = Math.min(lines.length, from + maxLines);
  let allowed: string | undefined;
  let bytes = 0;
  for (let i = from; i < until && bytes < maxBytes; i++) {
    const { source, from: start, to } = lines[i]!;
    if (source === undefined) break;
    reader.open(source);
    if (!reader.line(start, to)) break;
    const { collection } = items[items.length - 1]!;
    if (collection !== allowed && !mayUse(collection)) {
      images.cutLast();
      break;
    }
    allowed = collection;
    bytes += to - start;
  }
  return { images, bytes, release: () => reader.release() };
}

/** Reads items out of one text after the other. */
export class PlainReader implements PlainLine {
  readonly images: InsertImages;
  /** Of the item read last. */
  idempotencyKey: string | undefined;
  readonly #mayBeKeyed: boolean;
  readonly #maxBodyBytes: number;
  #buffer: Buffer = NOTHING;
  /** Plain: its elements are cheaper than a Buffer's where both kinds come. */
  #text: Uint8Array = NOTHING;
  #at = 0;
  #end = 0;
  #lastCollection = '';
  /** Of the name read last. */
  #nameFrom = 0;
  #nameTo = 0;
  #nameBits = 0;

  /** `isEach`: every item is to be a batch of its own. */
  constructor(maxBodyBytes: number, isEach: boolean, mayBeKeyed: boolean) {
    this.images = new InsertImages(isEach);
    this.#maxBodyBytes = maxBodyBytes;
    this.#mayBeKeyed = mayBeKeyed;
  }

  /** Where it reads on. */
  open(bytes: Buffer): void {
    if (bytes === this.#buffer) return;
    this.#buffer = bytes;
    this.#text = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#at = 0;
    this.#end = bytes.length;
  }

  release(): undefined {
    this.images.release();
    return undefined;
  }

  /** `{"records":[…]}` and nothing behind it. */
  batch(): boolean {
    if (!(this.#takes(0x7b) && this.#takesName(RECORDS) && this.#takes(0x3a) && this.#takes(0x5b))) return false;
    do {
      if (!this.#item()) return false;
      this.images.end();
    } while (this.#takes(0x2c));
    return this.#takes(0x5d) && this.#takes(0x7d) && this.#nextByte() === 0 && this.#at === this.#end && this.#isUtf8();
  }

  /** `bytes[from, to)` is one item; false, and nothing is added, where it is no plain one. */
  line(from: number, to: number): boolean {
    this.#at = from;
    this.#end = to;
    if (!this.#item() || this.#nextByte() !== 0 || this.#at !== to || !this.#isUtf8(from, to)) return false;
    this.images.end();
    return true;
  }

  #isUtf8(from = 0, to = this.#end): boolean {
    return !this.images.sawHighBytes() || isUtf8(this.#text.subarray(from, to));
  }

  /** All but its end. */
  #item(): boolean {
    if (!this.#takes(0x7b)) return false;
    const { images } = this;
    images.begin();
    let idempotencyKey: string | undefined;
    let keyFrom = 0;
    let keyTo = 0;
    let keyBits = 0;
    let fields = 0;
    do {
      let field: number;
      if (this.#takesName(COLLECTION)) {
        field = COLLECTION_FIELD;
        if (!this.#takes(0x3a) || !this.#readName()) return false;
        if (!this.#isLastCollection()) this.#lastCollection = this.#nameText();
      } else if (this.#takesName(KEY)) {
        field = KEY_FIELD;
        if (!this.#takes(0x3a) || !this.#readName()) return false;
        keyFrom = this.#nameFrom;
        keyTo = this.#nameTo;
        keyBits = this.#nameBits;
      } else if (this.#takesName(BODY)) {
        field = BODY_FIELD;
        if (!this.#takes(0x3a)) return false;
        const behind = images.body(this.#text, this.#at, this.#end, this.#maxBodyBytes);
        if (behind < 0) return false;
        this.#at = behind;
      } else if (this.#mayBeKeyed && this.#takesName(IDEMPOTENCY_KEY)) {
        field = IDEMPOTENCY_FIELD;
        if (!this.#takes(0x3a) || !this.#readName()) return false;
        idempotencyKey = this.#nameText();
        if (!isIdempotencyKey(idempotencyKey)) return false;
      } else return false;
      if ((fields & field) !== 0) return false;
      const before = fields & NAME_FIELDS;
      fields |= field;
      // Once both are known: a body that is still to come is written where it belongs.
      if (before !== NAME_FIELDS && (fields & NAME_FIELDS) === NAME_FIELDS) {
        if (!images.name(this.#lastCollection, this.#text, keyFrom, keyTo, keyBits)) return false;
      }
    } while (this.#takes(0x2c));
    if ((fields !== ALL_FIELDS && fields !== (ALL_FIELDS | IDEMPOTENCY_FIELD)) || !this.#takes(0x7d)) return false;
    this.idempotencyKey = idempotencyKey;
    return true;
  }

  /** A string without escapes: where it stands. False for anything else. */
  #readName(): boolean {
    if (!this.#takes(0x22)) return false;
    const text = this.#text;
    const end = this.#end;
    let bits = 0;
    let i = this.#at;
    this.#nameFrom = i;
    for (; ; i++) {
      if (i >= end) return false;
      const byte = text[i]!;
      if (byte === 0x22) break;
      if (byte < 0x20 || byte === 0x5c) return false;
      bits |= byte;
    }
    this.#nameTo = i;
    this.#nameBits = bits;
    this.#at = i + 1;
    return true;
  }

  #nameText(): string {
    if (this.#nameBits >= 0x80) this.images.noteHighBytes();
    return this.#buffer.toString('utf8', this.#nameFrom, this.#nameTo);
  }

  /** Most items say the collection of the one before. */
  #isLastCollection(): boolean {
    const text = this.#text;
    const from = this.#nameFrom;
    const last = this.#lastCollection;
    if (this.#nameTo - from !== last.length) return false;
    for (let i = 0; i < last.length; i++) if (text[from + i] !== last.charCodeAt(i)) return false;
    return true;
  }

  /** Takes this name in its quotes, white space before it too. */
  #takesName(name: Uint8Array): boolean {
    if (this.#nextByte() !== 0x22 || this.#at + name.length > this.#end) return false;
    const text = this.#text;
    for (let i = 1; i < name.length; i++) if (text[this.#at + i] !== name[i]) return false;
    this.#at += name.length;
    return true;
  }

  #takes(byte: number): boolean {
    if (this.#nextByte() !== byte) return false;
    this.#at++;
    return true;
  }

  /** The byte at `#at` behind white space, 0 at the end (and a 0 is none that may stand there). */
  #nextByte(): number {
    const text = this.#text;
    for (; this.#at < this.#end; this.#at++) {
      const byte = text[this.#at]!;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
    }
    return 0;
  }
}

function isIdempotencyKey(text: string): boolean {
  return /^[\x21-\x7e]{1,255}$/.test(text);
}

function asciiBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
