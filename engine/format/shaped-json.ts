/**
 * Parses stored bodies quicker than JSON.parse, which answers whatever this does not: bodies of a collection mostly have the same
 * keys in the same order, and of those only the values have to be looked at.
 *
 *   trie: key -> key -> … -> shape, an object with these keys to be copied         of what stands in an object, by its first bytes
 *           └ trie of the objects below this key
 *
 * Invariants: what it answers is what JSON.parse would, the order of keys and the throwing included: every byte is looked at, and
 * at the first one that it does not expect JSON.parse gets all of the text. Strings may be parts of the body's text, which they
 * then keep in memory, so only short bodies are parsed here. What is learned is bounded; where it does not pay, nothing is tried
 * for a while. In memory only.
 */
import type { JsonValue } from '../types.js';
import { utf8Text } from './bytes.js';
import { COPIERS, type Fields } from './object-copies.js';
import { parseJson } from './parse-json.js';

/** Longer ones go to JSON.parse: what a short string out of one keeps in memory stays small. */
const MAX_BYTES = 1024;
const MAX_DEPTH = 16;
/** Keys an object may have here, and keys that may follow another. */
const MAX_KEYS = 64;
const MAX_BRANCHES = 16;
/** Keys in all tries together; then all is learned anew. */
const MAX_NODES = 4096;
/** Numbers of so many digits are exact, and so are they divided by a power of ten up to 10^22. */
const EXACT_DIGITS = 15;
const POWERS = Array.from({ length: EXACT_DIGITS + 1 }, (_, power) => 10 ** power);
/** A body of a known shape earns one, another costs so many; with nothing left so many bodies are not tried. */
const MISS_COSTS = 4;
const MOST_CREDIT = 64;
const FIRST_CREDIT = 32;
const PAUSE = 512;
/** Whoever opens a database for an answer or two learns nothing from them. */
const FIRST_PAUSE = 4;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** A key after those before it. */
class Branch {
  readonly key: string;
  /** `"key":` in bytes. */
  readonly literal: Uint8Array;
  /** What may follow it. */
  readonly next: Branch[] = [];
  /** First keys of objects that are its value, or in an array that is. */
  readonly below: Branch[] = [];
  /** Set where an object may end with this key. */
  shape: Shape | undefined = undefined;

  constructor(key: string) {
    this.key = key;
    this.literal = Buffer.from(`${JSON.stringify(key)}:`, 'latin1');
  }
}

interface Shape {
  readonly keys: readonly string[];
  readonly template: Fields;
  /** Which of the copiers has seen few enough other shapes. */
  readonly copier: number;
}

/** What is known so far. */
let first: Branch[] = [];
let branches = 0;
let shapes = 0;
let credit = FIRST_CREDIT;
let pause = FIRST_PAUSE;

// The body at hand: reading one is never interrupted.
const NOTHING: Buffer = Buffer.alloc(0);
let bytes = NOTHING;
let text = '';
/** Where `text` begins in `bytes`, and where it ends. */
let start = 0;
let end = 0;
/** Where the next value begins, or -1 once something was met that is not expected. */
let at = 0;
/** Values of the objects that are open. */
const stack: (JsonValue | undefined)[] = new Array<undefined>(MAX_KEYS * MAX_DEPTH).fill(undefined);
let stacked = 0;

/** The value that the JSON in `body[from, to)` stands for. */
export function parseShaped(body: Buffer, from: number, to: number): JsonValue {
  text = utf8Text(body, from, to);
  // Only in ASCII a place in the bytes is the same one in the text.
  if (text.length !== to - from || to - from > MAX_BYTES || body[from] !== OPEN_OBJECT) return parseWhole();
  if (pause > 0) {
    pause--;
    return parseWhole();
  }
  bytes = body;
  start = at = from;
  end = to;
  stacked = 0;
  const value = readObject(first, 0);
  const json = text;
  // Nothing of a body stays here: it may be erased.
  bytes = NOTHING;
  text = '';
  if (value !== undefined && at === to) {
    if (credit < MOST_CREDIT) credit++;
    return value;
  }
  while (stacked > 0) stack[--stacked] = undefined;
  return parseAndLearn(json);
}

function parseWhole(): JsonValue {
  const json = text;
  text = '';
  return parseJson(json);
}

/** In the order of what is probable; `undefined` and `at` < 0 where it is not as expected. */
function readValue(below: Branch[], depth: number): JsonValue | undefined {
  const c = bytes[at]!;
  if (c === QUOTE) return readString();
  if ((c >= ZERO && c <= NINE) || c === MINUS) return readNumber();
  if (c === OPEN_OBJECT) return depth < MAX_DEPTH ? readObject(below, depth) : unexpected();
  if (c === OPEN_ARRAY) return depth < MAX_DEPTH ? readArray(below, depth) : unexpected();
  if (c === 0x74 && bytes[at + 1] === 0x72 && bytes[at + 2] === 0x75 && bytes[at + 3] === 0x65) {
    at += 4;
    return true;
  }
  if (c === 0x66 && bytes[at + 1] === 0x61 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x73 && bytes[at + 4] === 0x65) {
    at += 5;
    return false;
  }
  if (c === 0x6e && bytes[at + 1] === 0x75 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x6c) {
    at += 4;
    return null;
  }
  return unexpected();
}

function unexpected(): undefined {
  at = -1;
  return undefined;
}

/** At its opening brace. */
function readObject(known: Branch[], depth: number): Fields | undefined {
  at++;
  if (bytes[at] === CLOSE_OBJECT) {
    at++;
    return {};
  }
  const bottom = stacked;
  for (let among = known; ; ) {
    const branch = branchHere(among);
    if (branch === undefined) return unexpected();
    at += branch.literal.length;
    const value = readValue(branch.below, depth + 1);
    if (value === undefined) return undefined;
    stack[stacked++] = value;
    const c = bytes[at];
    if (c === COMMA) {
      at++;
      among = branch.next;
      continue;
    }
    const { shape } = branch;
    if (c !== CLOSE_OBJECT || shape === undefined) return unexpected();
    at++;
    const { keys } = shape;
    const made = COPIERS[shape.copier]!(shape.template);
    for (let i = 0; i < keys.length; i++) {
      made[keys[i]!] = stack[bottom + i]!;
      stack[bottom + i] = undefined;
    }
    stacked = bottom;
    return made;
  }
}

/** The branch whose key stands here; found again sooner the next time. */
function branchHere(among: Branch[]): Branch | undefined {
  const here = at;
  for (let i = 0; i < among.length; i++) {
    const branch = among[i]!;
    if (!standsHere(branch.literal, here)) continue;
    if (i > 0) {
      among[i] = among[i - 1]!;
      among[i - 1] = branch;
    }
    return branch;
  }
  return undefined;
}

function standsHere(literal: Uint8Array, from: number): boolean {
  const b = bytes;
  for (let i = 0; i < literal.length; i++) if (b[from + i] !== literal[i]) return false;
  return true;
}

/** At its opening bracket. */
function readArray(below: Branch[], depth: number): JsonValue[] | undefined {
  at++;
  if (bytes[at] === CLOSE_ARRAY) {
    at++;
    return [];
  }
  const values: JsonValue[] = [];
  for (;;) {
    const value = readValue(below, depth + 1);
    if (value === undefined) return undefined;
    values.push(value);
    const c = bytes[at++];
    if (c === CLOSE_ARRAY) return values;
    if (c !== COMMA) return unexpected();
  }
}

/** At its opening quote. */
function readString(): string | undefined {
  const b = bytes;
  const last = end;
  const from = at + 1;
  let to = from;
  let c = b[to]!;
  while (c !== QUOTE) {
    if (c < 0x20 || c === BACKSLASH || to >= last) return unexpected();
    c = b[++to]!;
  }
  at = to + 1;
  return text.slice(from - start, to - start);
}

function readNumber(): number | undefined {
  const b = bytes;
  const from = at;
  let p = from;
  const negative = b[p] === MINUS;
  if (negative) p++;
  const digitsAt = p;
  let value = 0;
  let c = b[p]!;
  while (c >= ZERO && c <= NINE) {
    value = value * 10 + c - ZERO;
    c = b[++p]!;
  }
  let digits = p - digitsAt;
  // No digit, or a zero before others.
  if (digits === 0 || (digits > 1 && b[digitsAt] === ZERO)) return unexpected();
  if (c === POINT) {
    const placesAt = p + 1;
    c = b[++p]!;
    while (c >= ZERO && c <= NINE) {
      value = value * 10 + c - ZERO;
      c = b[++p]!;
    }
    const places = p - placesAt;
    if (places === 0) return unexpected();
    digits += places;
    if (digits <= EXACT_DIGITS) value /= POWERS[places]!;
  }
  // Many digits, or an exponent.
  if (digits > EXACT_DIGITS || c === 0x65 || c === 0x45) return readLongNumber(from);
  at = p;
  return negative ? -value : value;
}

function readLongNumber(from: number): number | undefined {
  const found = NUMBER.exec(text.slice(from - start, Math.min(from + MAX_NUMBER, end) - start));
  if (found === null) return unexpected();
  at = from + found[0].length;
  return Number(found[0]);
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?(?=[,\]}])/;
const MAX_NUMBER = 64;

function parseAndLearn(json: string): JsonValue {
  const value = parseJson(json);
  credit -= MISS_COSTS;
  if (credit < 0) {
    credit = FIRST_CREDIT;
    pause = PAUSE;
  }
  if (branches > MAX_NODES) {
    first = [];
    branches = 0;
  }
  learn(first, value, 0);
  return value;
}

/** The keys of an object that JSON.parse made are in the order of the text, but for those that are numbers: their literals never follow each other as learned. */
function learn(known: Branch[], value: JsonValue, depth: number): void {
  if (typeof value !== 'object' || value === null || depth >= MAX_DEPTH) return;
  if (Array.isArray(value)) {
    for (const item of value) learn(known, item, depth + 1);
    return;
  }
  const keys = Object.keys(value);
  if (keys.length === 0 || keys.length > MAX_KEYS || !keys.every(isFit)) return;
  let among = known;
  let last: Branch | undefined;
  for (const key of keys) {
    let branch = among.find((each) => each.key === key);
    if (branch === undefined) {
      // The last one is asked for least.
      if (among.length >= MAX_BRANCHES) among.pop();
      branch = new Branch(key);
      branches++;
      among.push(branch);
    }
    learn(branch.below, value[key]!, depth + 1);
    among = branch.next;
    last = branch;
  }
  last!.shape ??= { keys, template: templateOf(keys), copier: shapes++ % COPIERS.length };
}

/** Plain ASCII that JSON writes as it is. `__proto__` means something when it is assigned, and numbers go before other keys. */
function isFit(key: string): boolean {
  return FIT_KEY.test(key) && key !== '__proto__';
}

const FIT_KEY = /^[ !#-/:-[\]-~][ !#-[\]-~]*$/;

/** An object with these keys, in fields that take any value: a field that has only ever held fractions would not. */
function templateOf(keys: readonly string[]): Fields {
  const made = () => JSON.parse(`{${keys.map((key) => `${JSON.stringify(key)}:0`).join()}}`) as Fields;
  const template = made();
  for (const value of ['', 0, null]) for (const key of keys) template[key] = value;
  return template;
}
