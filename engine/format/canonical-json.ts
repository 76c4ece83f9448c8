/**
 * Canonical JSON: the one byte form of a JSON value, which is what is stored and hashed. Keys sorted by UTF-16 code units, no
 * white space, numbers and strings as JSON.stringify writes them, UTF-8. A property test holds it equal to fast-json-stable-stringify.
 *
 * What JSON cannot hold exactly is refused, never dropped or bent: undefined, functions, symbols, bigint, NaN, infinities,
 * lone surrogates, holes, class instances (a Date, a Map), nesting over 64. The one exception is -0, which becomes 0. As in
 * JSON.stringify an object is its own enumerable string-named properties; an own `__proto__` is a property like any other.
 *
 * It is the largest part of an insert, so it writes straight to bytes and remembers the key order and key bytes of the object
 * shapes it meets (`Shape`). Invariants: `out[…at)` is what is written; a getter that comes back in here appends behind
 * `at` and takes its own bytes away again; `reserve` is called before every write.
 */
import { VarveError } from '../errors.js';
import type { ByteArena } from './byte-arena.js';
import { describeProblem, isPlain } from './canonical-json-problem.js';
import { DEFAULT_MAX_BODY_BYTES, MAX_JSON_DEPTH } from './limits.js';

export interface CanonicalOptions {
  /** Of the result. */
  readonly maxBytes?: number;
  /** What the value is called in errors. */
  readonly path?: string;
}

/** An object's keys in the order met, and how to write them. */
interface Shape {
  readonly keys: readonly string[];
  readonly sorted: readonly string[];
  /** `{"first":`, then `,"next":` … */
  readonly heads: readonly Uint8Array[];
}

const START_BYTES = 64 * 1024;
/** A larger buffer is given back after the call that needed it. */
const KEEP_BYTES = 1024 * 1024;
const SHORT_STRING = 48;
/** Objects with more keys are taken for dictionaries: their keys would push out the shapes that come again. */
const MAX_SHAPE_KEYS = 40;
const SHAPE_SLOTS = 1024;
/** Below it a number times 100 is a 32-bit integer. */
const MAX_CENTS = 21_474_836;
/** Below it a number splits into millions of 32 bits and six digits. */
const MAX_SPLIT = 2 ** 32 * 1e6;
const NEEDS_ESCAPE = /["\\\u0000-\u001f\ud800-\udfff]/;
const LONE_SURROGATE = /[\ud800-\udfff]/u;
const encoder = new TextEncoder();
const HEX = '0123456789abcdef';
/** Thrown within, found out about and told by `describeProblem`. */
const UNFIT = Symbol('unfit');
const OVER_LIMIT = Symbol('over limit');

/** A plain Uint8Array: views of one are cheaper than of a Buffer. */
let out = new Uint8Array(START_BYTES);
let at = 0;
let limit = 0;
const shapes: (Shape | undefined)[] = new Array<Shape | undefined>(SHAPE_SLOTS).fill(undefined);

/** Throws INVALID with the place of what cannot be held, TOO_LARGE over `maxBytes` (1 MiB unless told otherwise). */
export function canonicalJson(value: unknown, options?: CanonicalOptions): Buffer {
  const start = at;
  const outerLimit = limit;
  try {
    write(value, options?.maxBytes ?? DEFAULT_MAX_BODY_BYTES, options?.path ?? 'body');
    const bytes = Buffer.allocUnsafe(at - start);
    bytes.set(out.subarray(start, at));
    return bytes;
  } finally {
    leave(start, outerLimit);
  }
}

/** The same, appended to an arena. Throws as `canonicalJson`, with nothing appended. `path`: a number is an item's of a batch. */
export function appendCanonicalJson(arena: ByteArena, value: unknown, maxBytes: number, path: string | number): void {
  const start = at;
  const outerLimit = limit;
  try {
    write(value, maxBytes, path);
    // Only now: a getter of the value may have written to the arena too.
    const length = at - start;
    arena.reserve(length);
    arena.bytes.set(out.subarray(start, at), arena.end);
    arena.end += length;
  } finally {
    leave(start, outerLimit);
  }
}

/** Leaves the value behind where `at` was. */
function write(value: unknown, maxBytes: number, where: string | number): void {
  limit = at + maxBytes;
  try {
    writeValue(value, 0);
    if (at > limit) throw OVER_LIMIT;
  } catch (error) {
    const path = typeof where === 'string' ? where : `records[${where}].body`;
    if (error === OVER_LIMIT)
      throw new VarveError('TOO_LARGE', `${path}: over ${maxBytes} bytes as canonical JSON`, { what: path, limit: maxBytes });
    if (error === UNFIT) throw describeProblem(value, path);
    throw error;
  }
}

function leave(start: number, outerLimit: number): void {
  at = start;
  limit = outerLimit;
  if (start === 0 && out.length > KEEP_BYTES) out = new Uint8Array(START_BYTES);
}

function reserve(bytes: number): void {
  if (at + bytes <= out.length) return;
  if (at > limit) throw OVER_LIMIT;
  const larger = new Uint8Array(Math.max(out.length * 2, at + bytes));
  larger.set(out.subarray(0, at));
  out = larger;
}

function writeValue(value: unknown, depth: number): void {
  switch (typeof value) {
    case 'string':
      return writeString(value);
    case 'number':
      return writeNumber(value);
    case 'boolean':
      return writeAscii(value ? 'true' : 'false');
    case 'object':
      if (value === null) return writeAscii('null');
      if (depth === MAX_JSON_DEPTH) throw UNFIT;
      return Array.isArray(value) ? writeArray(value, depth + 1) : writeObject(value as Record<string, unknown>, depth + 1);
    default:
      throw UNFIT;
  }
}

function writeAscii(text: string): void {
  reserve(text.length);
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
  at += text.length;
}

function writeNumber(value: number): void {
  if (value >>> 0 === value) return writeUint32(value, 1); // -0 too, as 0
  if (value - value !== 0) throw UNFIT; // NaN and the infinities
  if (value < 0) {
    writeByte(0x2d);
    return writeNumber(-value);
  }
  if (value < MAX_CENTS && writeCents(value)) return;
  if (value < MAX_SPLIT && Math.floor(value) === value) {
    const high = Math.floor(value / 1e6);
    writeUint32(high, 1);
    return writeUint32(value - high * 1e6, 6);
  }
  writeAscii(`${value}`);
}

/**
 * Numbers of at most two decimals, such as prices. Exact: a decimal of up to 15 digits is the shortest one of its double, because
 * no two of them share a double, and `hundredths / 100` is the double nearest to that decimal.
 */
function writeCents(value: number): boolean {
  const hundredths = Math.round(value * 100);
  if (hundredths / 100 !== value) return false;
  const whole = Math.floor(hundredths / 100);
  const rest = hundredths - whole * 100;
  writeUint32(whole, 1);
  writeByte(0x2e);
  if (rest % 10 === 0) writeUint32(rest / 10, 1);
  else writeUint32(rest, 2);
  return true;
}

/** At least `digits` digits, zeros before. */
function writeUint32(value: number, digits: number): void {
  reserve(10);
  let power = 10 ** digits;
  while (digits < 10 && value >= power) {
    digits++;
    power *= 10;
  }
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    const tenth = (rest / 10) >>> 0;
    out[i] = 0x30 + rest - tenth * 10;
    rest = tenth;
  }
  at += digits;
}

function writeString(text: string): void {
  if (text.length > SHORT_STRING) return writeLongString(text);
  // 6 bytes is the most a UTF-16 unit takes (\u001f).
  reserve(text.length * 6 + 2);
  const bytes = out;
  let to = at;
  bytes[to++] = 0x22;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x80) {
      if (c >= 0x20 && c !== 0x22 && c !== 0x5c) bytes[to++] = c;
      else to = putEscape(bytes, to, c);
    } else if (c < 0x800) {
      bytes[to++] = 0xc0 | (c >> 6);
      bytes[to++] = 0x80 | (c & 0x3f);
    } else if (c < 0xd800 || c > 0xdfff) {
      bytes[to++] = 0xe0 | (c >> 12);
      bytes[to++] = 0x80 | ((c >> 6) & 0x3f);
      bytes[to++] = 0x80 | (c & 0x3f);
    } else {
      const low = c < 0xdc00 && i + 1 < text.length ? text.charCodeAt(++i) : 0;
      if (low < 0xdc00 || low > 0xdfff) throw UNFIT;
      const point = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
      bytes[to++] = 0xf0 | (point >> 18);
      bytes[to++] = 0x80 | ((point >> 12) & 0x3f);
      bytes[to++] = 0x80 | ((point >> 6) & 0x3f);
      bytes[to++] = 0x80 | (point & 0x3f);
    }
  }
  bytes[to++] = 0x22;
  at = to;
}

function putEscape(bytes: Uint8Array, to: number, c: number): number {
  bytes[to] = 0x5c;
  const short =
    c === 0x22 ? 0x22 : c === 0x5c ? 0x5c : c === 8 ? 0x62 : c === 9 ? 0x74 : c === 10 ? 0x6e : c === 12 ? 0x66 : c === 13 ? 0x72 : 0;
  bytes[to + 1] = short || 0x75;
  if (short !== 0) return to + 2;
  bytes[to + 2] = 0x30;
  bytes[to + 3] = 0x30;
  bytes[to + 4] = HEX.charCodeAt(c >> 4);
  bytes[to + 5] = HEX.charCodeAt(c & 15);
  return to + 6;
}

/** Leaves the encoding to the runtime: dearer to call, cheaper a byte. */
function writeLongString(text: string): void {
  if (at + text.length > limit) throw OVER_LIMIT;
  let plain = text;
  if (NEEDS_ESCAPE.test(text)) {
    if (LONE_SURROGATE.test(text)) throw UNFIT;
    plain = JSON.stringify(text).slice(1, -1);
  }
  // A UTF-16 unit is at most 3 bytes; measured only where that matters.
  reserve((plain.length > START_BYTES ? Buffer.byteLength(plain) : plain.length * 3) + 2);
  out[at++] = 0x22;
  at += Buffer.from(out.buffer).write(plain, at, 'utf8');
  out[at++] = 0x22;
}

function writeArray(items: readonly unknown[], depth: number): void {
  reserve(1);
  out[at++] = 0x5b;
  // A hole reads as undefined, and is refused as that.
  for (let i = 0; i < items.length; i++) {
    if (i > 0) writeByte(0x2c);
    writeValue(items[i], depth);
  }
  writeByte(0x5d);
}

function writeByte(byte: number): void {
  reserve(1);
  out[at++] = byte;
}

function writeObject(object: Record<string, unknown>, depth: number): void {
  if (!isPlain(object)) throw UNFIT;
  const keys = Object.keys(object);
  if (keys.length === 0) return writeAscii('{}');
  if (keys.length > MAX_SHAPE_KEYS) return writeDictionary(object, keys, depth);
  const { sorted, heads } = shapeOf(keys);
  for (let i = 0; i < sorted.length; i++) {
    const head = heads[i]!;
    reserve(head.length);
    const bytes = out;
    for (let j = 0; j < head.length; j++) bytes[at + j] = head[j]!;
    at += head.length;
    writeValue(object[sorted[i]!], depth);
  }
  writeByte(0x7d);
}

function writeDictionary(object: Record<string, unknown>, keys: string[], depth: number): void {
  keys.sort(byCodeUnits);
  for (let i = 0; i < keys.length; i++) {
    writeByte(i === 0 ? 0x7b : 0x2c);
    writeString(keys[i]!);
    writeByte(0x3a);
    writeValue(object[keys[i]!], depth);
  }
  writeByte(0x7d);
}

/** A slot holds the newest shape that fell into it: bounded, and right whatever falls where. */
function shapeOf(keys: string[]): Shape {
  const first = keys[0]!;
  const last = keys[keys.length - 1]!;
  const slot =
    (keys.length * 31 + first.length * 7 + first.charCodeAt(0) * 13 + last.length * 17 + last.charCodeAt(last.length - 1) * 3) &
    (SHAPE_SLOTS - 1);
  const found = shapes[slot];
  if (found !== undefined && sameKeys(found.keys, keys)) return found;
  const sorted = keys.toSorted(byCodeUnits);
  const shape: Shape = {
    keys,
    sorted,
    heads: sorted.map((key, i) => {
      if (LONE_SURROGATE.test(key)) throw UNFIT;
      return encoder.encode(`${i === 0 ? '{' : ','}${JSON.stringify(key)}:`);
    }),
  };
  shapes[slot] = shape;
  return shape;
}

function sameKeys(known: readonly string[], keys: readonly string[]): boolean {
  if (known.length !== keys.length) return false;
  for (let i = 0; i < keys.length; i++) if (known[i] !== keys[i]) return false;
  return true;
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : 1;
}
