/**
 * The one JSON parser for bytes from outside: RFC 8259 exactly, and nothing that would be stored as something else. Refused:
 * invalid UTF-8, a byte order mark, anything after the value, duplicate keys, lone surrogates (raw or escaped), numbers that
 * change as a double (see json-number.ts), nesting over the limit. An own `__proto__` is a property like any other.
 *
 *   bytes -> one pass over them: grammar, keys, numbers, depth -> valid UTF-8? -> JSON.parse of the same bytes
 *
 * Bytes that are only to be stored make no value at all where they are plainly well-formed: see canonical-bytes.ts.
 *
 * The pass builds nothing, so it is quick; the runtime's own parser, told nothing unsafe, makes the values. Invariants: every
 * failure is a VarveError INVALID (TOO_LARGE over `maxBytes`) naming line, column and JSON path; recursion is bounded by the
 * depth limit. State of the pass is module-wide: it is synchronous, calls no one else's code, and starts anew each time.
 */
import { isUtf8 } from 'node:buffer';
import { VarveError } from '../errors.js';
import type { JsonValue } from '../types.js';
import { ByteArena } from './byte-arena.js';
import { appendCanonicalBytes, endCanonicalBytes, sawHighBytes } from './canonical-bytes.js';
import { canonicalJson } from './canonical-json.js';
import { ALWAYS_EXACT_DIGITS, keepsItsValue } from './json-number.js';
import { MAX_JSON_DEPTH } from './limits.js';
import { parseJson } from './parse-json.js';
import { firstInvalidUtf8, jsonPathAt, lineAndColumn } from './strict-json-place.js';

export interface StrictOptions {
  /** 64 by default, which is as deep as a stored value may be; a few more for an envelope around one. */
  readonly maxDepth?: number;
  /** What the bytes are called in errors. */
  readonly what?: string;
  /** Over it: TOO_LARGE. No limit unless given. */
  readonly maxBytes?: number;
}

/** What an envelope may add around a stored value. */
const MAX_ENVELOPE_DEPTH = 8;

/** Where the pass gave up. */
class Failure {
  constructor(
    readonly offset: number,
    readonly problem: string,
    readonly expected: string,
  ) {}
}

/** Objects with more keys are checked for duplicates through a Set. */
const MAX_COMPARED_KEYS = 24;
/** What is kept of the key stack between calls: 1365 keys. */
const KEEP_KEY_WORDS = 4096;
const NOTHING = new Uint8Array(0);

let input: Uint8Array = NOTHING;
let at = 0;
let depthLimit = 0;
/** Of the string scanned last: it has a backslash; hash of its raw bytes. */
let escaped = false;
let rawHash = 0;
/** All bytes of all strings so far, or-ed: under 0x80 while the text is ASCII. */
let stringBits = 0;
/** Per key of every open object: hash, start and end of its text between the quotes. */
let keyStack = new Int32Array(KEEP_KEY_WORDS);
let keyTop = 0;

export function parseStrict(bytes: Uint8Array, options?: StrictOptions): JsonValue {
  const what = options?.what ?? 'body';
  if (options?.maxBytes !== undefined && bytes.length > options.maxBytes) {
    throw new VarveError('TOO_LARGE', `${what}: ${bytes.length} bytes, over ${options.maxBytes}`, {
      what,
      limit: options.maxBytes,
      actual: bytes.length,
    });
  }
  try {
    check(bytes, Math.min(options?.maxDepth ?? MAX_JSON_DEPTH, MAX_JSON_DEPTH + MAX_ENVELOPE_DEPTH));
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return parseJson(buffer.toString(stringBits < 0x80 ? 'latin1' : 'utf8'));
  } catch (error) {
    // What the pass takes JSON.parse takes, but for texts over the longest string there can be.
    throw explain(bytes, error instanceof Failure ? error : new Failure(0, 'cannot be read', 'a JSON value of ordinary size'), what);
  } finally {
    input = NOTHING;
    if (keyStack.length > KEEP_KEY_WORDS) keyStack = new Int32Array(KEEP_KEY_WORDS);
  }
}

/** What is stored for these bytes: `maxBytes` limits the canonical form too. */
export function canonicalFromBytes(bytes: Uint8Array, options?: StrictOptions): Buffer {
  return canonicalInOnePass(bytes, options) ?? canonicalByValue(bytes, options);
}

/** Undefined for whatever is wrong, or might be. */
function canonicalInOnePass(bytes: Uint8Array, options: StrictOptions | undefined): Buffer | undefined {
  const maxBytes = options?.maxBytes ?? Number.MAX_SAFE_INTEGER;
  if (bytes.length > maxBytes) return undefined;
  const arena = ByteArena.take();
  try {
    const text = Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
    let end = appendCanonicalBytes(arena, text, 0, text.length, Math.min(options?.maxDepth ?? MAX_JSON_DEPTH, MAX_JSON_DEPTH));
    const isAscii = !sawHighBytes();
    if (end < 0) return undefined;
    while (end < text.length && isSpace(text[end]!)) end++;
    if (end < text.length || arena.end > maxBytes || !(isAscii || isUtf8(text))) return undefined;
    const canonical = Buffer.allocUnsafe(arena.end);
    canonical.set(arena.bytes.subarray(0, arena.end));
    return canonical;
  } finally {
    arena.giveBack();
    endCanonicalBytes();
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** The same by way of the value: what errors come of, and what the way above is held to. */
export function canonicalByValue(bytes: Uint8Array, options?: StrictOptions): Buffer {
  const value = parseStrict(bytes, options);
  // The canonical form may be longer than what was given (1e20), never by much.
  return canonicalJson(value, { maxBytes: options?.maxBytes ?? Number.MAX_SAFE_INTEGER, path: options?.what ?? 'body' });
}

function explain(bytes: Uint8Array, failure: Failure, what: string): VarveError<'INVALID'> {
  const { line, column } = lineAndColumn(bytes, failure.offset);
  const place = `line ${line}, column ${column}`;
  const { problem, expected } = failure;
  return new VarveError('INVALID', `${what}: ${place} (at ${jsonPathAt(bytes, failure.offset)}): ${problem}; expected ${expected}`, {
    path: place,
    expected,
  });
}

function check(bytes: Uint8Array, maxDepth: number): void {
  if (bytes.length > 2 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
    throw new Failure(0, 'a byte order mark', 'JSON without one');
  input = bytes;
  at = 0;
  depthLimit = maxDepth;
  keyTop = 0;
  stringBits = 0;
  scanValue(0);
  // Outside of strings the grammar is ASCII.
  if (stringBits >= 0x80 && !isUtf8(bytes)) throw new Failure(firstInvalidUtf8(bytes), 'bytes that are not UTF-8', 'UTF-8');
  skipSpace();
  if (at < input.length) throw new Failure(at, `${found()} after the value`, 'nothing more');
}

function found(): string {
  if (at >= input.length) return 'the end';
  const byte = input[at]!;
  return byte > 0x20 && byte < 0x7f ? `'${String.fromCharCode(byte)}'` : `byte 0x${byte.toString(16).padStart(2, '0')}`;
}

function unexpected(expected: string): never {
  throw new Failure(Math.min(at, input.length), `found ${found()}`, expected);
}

function skipSpace(): void {
  const bytes = input;
  let i = at;
  while (i < bytes.length) {
    const byte = bytes[i]!;
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
    i++;
  }
  at = i;
}

function scanValue(depth: number): void {
  skipSpace();
  if (at >= input.length) unexpected('a JSON value');
  switch (input[at]!) {
    case 0x22:
      return scanString();
    case 0x7b:
      return scanObject(depth + 1);
    case 0x5b:
      return scanArray(depth + 1);
    case 0x74:
      return scanWord('true');
    case 0x66:
      return scanWord('false');
    case 0x6e:
      return scanWord('null');
    default:
      return scanNumber();
  }
}

function scanWord(word: string): void {
  for (let i = 1; i < word.length; i++) {
    if (input[at + i] !== word.charCodeAt(i)) {
      at += i;
      unexpected(word);
    }
  }
  at += word.length;
}

function enter(depth: number): void {
  if (depth > depthLimit)
    throw new Failure(at, `more than ${depthLimit} levels`, `at most ${depthLimit} arrays and objects inside each other`);
  at++;
  skipSpace();
}

function scanArray(depth: number): void {
  enter(depth);
  if (input[at] === 0x5d) {
    at++;
    return;
  }
  for (;;) {
    scanValue(depth);
    skipSpace();
    const byte = input[at];
    if (byte !== 0x2c) {
      if (byte !== 0x5d) unexpected("',' or ']'");
      at++;
      return;
    }
    at++;
  }
}

function scanObject(depth: number): void {
  enter(depth);
  if (input[at] === 0x7d) {
    at++;
    return;
  }
  const base = keyTop;
  let doubtful = false;
  for (;;) {
    if (input[at] !== 0x22) unexpected(keyTop === base ? "a key in quotes, or '}'" : 'a key in quotes');
    const start = at + 1;
    scanString();
    // Equal keys with other bytes need an escape; equal bytes have equal hashes.
    doubtful = pushKey(base, rawHash, start, at - 1) || escaped || doubtful;
    skipSpace();
    if (input[at] !== 0x3a) unexpected("':'");
    at++;
    scanValue(depth);
    skipSpace();
    const byte = input[at];
    if (byte !== 0x2c) {
      if (byte !== 0x7d) unexpected("',' or '}'");
      at++;
      break;
    }
    at++;
    skipSpace();
  }
  if (doubtful) refuseDuplicates(base);
  keyTop = base;
}

/** True where the key may be a duplicate of one of this object's. */
function pushKey(base: number, hash: number, start: number, end: number): boolean {
  let doubtful = keyTop - base >= 3 * MAX_COMPARED_KEYS;
  if (!doubtful) for (let i = base; i < keyTop; i += 3) if (keyStack[i] === hash) doubtful = true;
  if (keyTop + 3 > keyStack.length) {
    const larger = new Int32Array(keyStack.length * 2);
    larger.set(keyStack);
    keyStack = larger;
  }
  keyStack[keyTop] = hash;
  keyStack[keyTop + 1] = start;
  keyStack[keyTop + 2] = end;
  keyTop += 3;
  return doubtful;
}

function refuseDuplicates(base: number): void {
  const seen = new Set<string>();
  const text = Buffer.from(input.buffer, input.byteOffset, input.length);
  for (let i = base; i < keyTop; i += 3) {
    const start = keyStack[i + 1]!;
    // Quotes included, so that the runtime undoes the escapes.
    seen.add(JSON.parse(text.toString('utf8', start - 1, keyStack[i + 2]! + 1)) as string);
    if (seen.size * 3 !== i - base + 3) throw new Failure(start - 1, 'a key that this object already has', 'each key once');
  }
}

/** From the opening quote to behind the closing one. */
function scanString(): void {
  const bytes = input;
  const end = bytes.length;
  let hash = 0;
  let bits = stringBits;
  let i = at + 1;
  escaped = false;
  for (;;) {
    if (i >= end) {
      at = end;
      unexpected("'\"' to end the string");
    }
    const byte = bytes[i]!;
    if (byte === 0x22) break;
    if (byte === 0x5c) {
      escaped = true;
      i = scanEscape(i);
      continue;
    }
    if (byte < 0x20) {
      at = i;
      throw new Failure(i, `a raw control character, ${found()}`, 'control characters escaped');
    }
    hash = (Math.imul(hash, 31) + byte) | 0;
    bits |= byte;
    i++;
  }
  stringBits = bits;
  rawHash = hash;
  at = i + 1;
}

/** Returns the offset behind the escape at `i`, both halves of a pair taken. */
function scanEscape(i: number): number {
  switch (input[i + 1]) {
    case 0x22:
    case 0x5c:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return i + 2;
    case 0x75: {
      const unit = scanHex4(i + 2);
      if (unit < 0xd800 || unit > 0xdfff) return i + 6;
      if (unit < 0xdc00 && input[i + 6] === 0x5c && input[i + 7] === 0x75) {
        const low = scanHex4(i + 8);
        if (low >= 0xdc00 && low <= 0xdfff) return i + 12;
      }
      throw new Failure(i, 'an escaped lone surrogate', 'well-formed Unicode');
    }
    default:
      at = i + 1;
      return unexpected('one of " \\ / b f n r t u after the backslash');
  }
}

function scanHex4(start: number): number {
  let value = 0;
  for (let i = start; i < start + 4; i++) {
    const byte = i < input.length ? input[i]! : 0;
    const lower = byte | 0x20;
    const digit = byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
    if (digit < 0) {
      at = i;
      unexpected('four hex digits after \\u');
    }
    value = value * 16 + digit;
  }
  return value;
}

function scanNumber(): void {
  const start = at;
  if (input[at] === 0x2d) at++;
  else if (!isDigit(at)) unexpected('a JSON value');
  const whole = at;
  if (input[at] === 0x30) at++;
  else scanDigits();
  let digits = at - whole;
  if (isDigit(at)) throw new Failure(at, 'a number with a leading zero', 'a number without leading zeros');
  if (input[at] === 0x2e) {
    at++;
    const fraction = at;
    scanDigits();
    digits += at - fraction;
  }
  let exact = digits <= ALWAYS_EXACT_DIGITS;
  if (input[at] === 0x65 || input[at] === 0x45) {
    exact = false;
    at++;
    if (input[at] === 0x2b || input[at] === 0x2d) at++;
    scanDigits();
  }
  if (exact) return;
  const text = Buffer.from(input.buffer, input.byteOffset + start, at - start).toString('latin1');
  if (!keepsItsValue(text)) {
    const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    throw new Failure(start, `${shown} cannot be held exactly`, 'a number that is exact as a 64-bit float, or a string');
  }
}

function isDigit(offset: number): boolean {
  return offset < input.length && input[offset]! >= 0x30 && input[offset]! <= 0x39;
}

function scanDigits(): void {
  const bytes = input;
  let i = at;
  while (i < bytes.length && bytes[i]! >= 0x30 && bytes[i]! <= 0x39) i++;
  if (i === at) unexpected('a digit');
  at = i;
}
