/**
 * Inserts that say a collection, a key and a body and nothing else, read from the bytes of a request in one pass: the bodies come out
 * canonical, and no value is made of anything. Most of what is loaded is such.
 *
 *   {"records":[{"collection":"c","key":"k","body":…},…]}        {"collection":"c","key":"k","body":…}
 *
 * Invariants: it takes only what the way by parseStrict and the schemas takes too, with the same outcome; `undefined` is no verdict:
 * whatever is unusual or wrong (any other field, an escape in a name, a body over its limit) goes that way, and hears from it what is
 * wrong and where. Bodies lie in memory that is used again: `release` once the engine has taken them.
 */
import { isUtf8 } from 'node:buffer';
import { CanonicalBodies, type InsertItem } from '../engine/index.js';
import type { Line } from './ndjson.js';

export interface PlainInserts {
  readonly items: readonly InsertItem[];
  /** Nothing may look at the items' bodies from here on. */
  release(): void;
}

const COLLECTION = asciiBytes('"collection"');
const KEY = asciiBytes('"key"');
const BODY = asciiBytes('"body"');
const IDEMPOTENCY_KEY = asciiBytes('"idempotencyKey"');
const RECORDS = asciiBytes('"records"');
const ALL_FIELDS = 7;
const KEYED_FIELDS = 15;
const NOTHING = Buffer.alloc(0);

/** A batch, whole. */
export function readPlainBatch(bytes: Buffer, maxBodyBytes: number): PlainInserts | undefined {
  const reader = new PlainReader(maxBodyBytes);
  reader.open(bytes);
  return reader.batch() ? reader : reader.release();
}

export interface PlainLine extends PlainInserts {
  readonly idempotencyKey: string | undefined;
}

/** One line, which may have an idempotency key too. */
export function readPlainLine(bytes: Buffer, maxBodyBytes: number): PlainLine | undefined {
  const reader = new PlainReader(maxBodyBytes, true);
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
  const reader = new PlainReader(maxBodyBytes);
  const { items } = reader;
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
      items.pop();
      break;
    }
    allowed = collection;
    bytes += to - start;
  }
  return { items, bytes, release: () => reader.release() };
}

/** Reads items out of one text after the other. */
export class PlainReader implements PlainLine {
  readonly items: InsertItem[] = [];
  /** Of the item read last. */
  idempotencyKey: string | undefined;
  readonly #mayBeKeyed: boolean;
  readonly #bodies = new CanonicalBodies();
  readonly #maxBodyBytes: number;
  #buffer: Buffer = NOTHING;
  /** Plain: its elements are cheaper than a Buffer's where both kinds come. */
  #text: Uint8Array = NOTHING;
  #at = 0;
  #end = 0;
  #lastCollection = '';

  constructor(maxBodyBytes: number, mayBeKeyed = false) {
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
    this.#bodies.release();
    return undefined;
  }

  /** `{"records":[…]}` and nothing behind it. */
  batch(): boolean {
    if (!(this.#takes(0x7b) && this.#takesName(RECORDS) && this.#takes(0x3a) && this.#takes(0x5b))) return false;
    do {
      if (!this.#item()) return false;
    } while (this.#takes(0x2c));
    return this.#takes(0x5d) && this.#takes(0x7d) && this.#nextByte() === 0 && this.#at === this.#end && this.#isUtf8();
  }

  /** `bytes[from, to)` is one item; false, and nothing is added, where it is no plain one. */
  line(from: number, to: number): boolean {
    this.#at = from;
    this.#end = to;
    const count = this.items.length;
    const bodiesEnd = this.#bodies.end;
    if (this.#item() && this.#nextByte() === 0 && this.#at === to && this.#isUtf8(from, to)) return true;
    this.items.length = count;
    this.#bodies.cutTo(bodiesEnd);
    return false;
  }

  #isUtf8(from = 0, to = this.#end): boolean {
    return !this.#bodies.sawHighBytes() || isUtf8(this.#text.subarray(from, to));
  }

  #item(): boolean {
    if (!this.#takes(0x7b)) return false;
    let collection = '';
    let key = '';
    let idempotencyKey: string | undefined;
    let bodyFrom = 0;
    let fields = 0;
    do {
      let field: number;
      if (this.#takesName(COLLECTION)) {
        field = 1;
        if (!this.#takes(0x3a)) return false;
        const name = this.#name(this.#lastCollection);
        if (name === undefined) return false;
        collection = this.#lastCollection = name;
      } else if (this.#takesName(KEY)) {
        field = 2;
        if (!this.#takes(0x3a)) return false;
        const name = this.#name('');
        if (name === undefined) return false;
        key = name;
      } else if (this.#takesName(BODY)) {
        field = 4;
        if (!this.#takes(0x3a)) return false;
        bodyFrom = this.#bodies.end;
        const behind = this.#bodies.append(this.#text, this.#at, this.#end);
        if (behind < 0 || this.#bodies.end - bodyFrom > this.#maxBodyBytes) return false;
        this.#at = behind;
      } else if (this.#mayBeKeyed && this.#takesName(IDEMPOTENCY_KEY)) {
        field = 8;
        if (!this.#takes(0x3a)) return false;
        const name = this.#name('');
        if (name === undefined || !isIdempotencyKey(name)) return false;
        idempotencyKey = name;
      } else return false;
      if ((fields & field) !== 0) return false;
      fields |= field;
    } while (this.#takes(0x2c));
    if ((fields !== ALL_FIELDS && fields !== KEYED_FIELDS) || !this.#takes(0x7d)) return false;
    this.idempotencyKey = idempotencyKey;
    this.items.push({ collection, key, bodyBytes: this.#bodies.slice(bodyFrom) });
    return true;
  }

  /** A string without escapes; undefined for anything else. `guess` is what it probably says (ASCII). */
  #name(guess: string): string | undefined {
    if (!this.#takes(0x22)) return undefined;
    const text = this.#text;
    const from = this.#at;
    let bits = 0;
    let isGuess = true;
    let i = from;
    for (; ; i++) {
      if (i >= this.#end) return undefined;
      const byte = text[i]!;
      if (byte === 0x22) break;
      if (byte < 0x20 || byte === 0x5c) return undefined;
      if (isGuess && byte !== guess.charCodeAt(i - from)) isGuess = false;
      bits |= byte;
    }
    this.#at = i + 1;
    if (isGuess && i - from === guess.length) return guess;
    if (bits < 0x80) return this.#buffer.toString('latin1', from, i);
    this.#bodies.noteHighBytes();
    return this.#buffer.toString('utf8', from, i);
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
