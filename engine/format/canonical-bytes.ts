/**
 * Canonical JSON from JSON text in one pass, bytes to bytes: the grammar is checked as strict-json.ts has it and what is stored is
 * written as canonical-json.ts has it, without making a value of either. It is the way of nearly every body that comes over HTTP.
 *
 *   text at `from` -> scan into `out`, members in the order they come -> an object closes: its members put in order where they lie
 *                     the outermost closes: its members go to the arena in order
 *
 * It only ever says yes or no. A no (-1) is no verdict: whatever is not plainly well-formed goes the longer way through parseStrict and
 * canonicalJson, which say what is wrong and where. Property tests hold the two ways to the same bytes.
 *
 * Invariants: never a yes to what the longer way refuses, nor other bytes than it would give; UTF-8 is left to the caller, who is told
 * by `sawHighBytes` that there is something to check; recursion is bounded by the depth limit; before it begins `out` has room for as
 * many bytes as the text has, and is made larger where a number gets longer (1e20). State is module-wide: nothing here is
 * asynchronous or calls anyone's code.
 */
import type { ByteArena } from './byte-arena.js';
import { keepsItsValue, numberEnd } from './json-number.js';
import { branchTo, type KeyNode, keysOf, MAX_SHAPE_KEYS, orderOf, rootNode, sortedOrder } from './key-shapes.js';
import { MAX_JSON_DEPTH } from './limits.js';
import { putMembers, WORD_BYTES } from './member-order.js';

/** Over any number's text, written canonically. */
const NUMBER_BYTES = 32;
/** Longer stretches are copied by the runtime: dearer to call, cheaper a byte. */
const LOOP_BYTES = 64;
const START_MEMBERS = 1024;
const START_BYTES = 16 * 1024;
const KEPT_BYTES = 1024 * 1024;
const HEX = '0123456789abcdef';
const NOTHING = new Uint8Array(0);
const GIVEN_UP = Symbol('given up');

let input: Uint8Array = NOTHING;
let end = 0;
let at = 0;
/** Small and always the same for small values, so that it stays in the processor's cache. */
let out = new Uint8Array(START_BYTES);
let outView = new DataView(out.buffer);
let outAt = 0;
let depthLimit = MAX_JSON_DEPTH;
let highBits = 0;
/** Where in `out` the members of the open objects begin, those of the innermost last. */
let members = new Int32Array(START_MEMBERS);
let memberTop = 0;
/** An object's members while they are put in order. */
let spare = new Uint8Array(START_BYTES);
let spareView = new DataView(spare.buffer);
/** Over the arena written to last. */
let intoView: DataView = spareView;
/** How the outermost object is to be ordered; null where it need not. */
let outermost: readonly number[] | null = null;

/**
 * Appends the canonical form of the value that begins at `from` (white space may come first) to `into`. Returns the offset behind the
 * value, or -1, with nothing appended, where that is not for here to say.
 */
export function appendCanonicalBytes(into: ByteArena, text: Uint8Array, from: number, to: number, maxDepth = MAX_JSON_DEPTH): number {
  input = text;
  at = from;
  end = to;
  outAt = 0;
  depthLimit = maxDepth;
  memberTop = 0;
  outermost = null;
  if (out.length < to - from + NUMBER_BYTES) useOut(to - from + NUMBER_BYTES);
  try {
    scanValue(0);
    into.reserve(outAt + WORD_BYTES);
    if (outermost === null) {
      into.bytes.set(out.subarray(0, outAt), into.end);
      into.end += outAt;
    } else into.end = putOutermost(into.bytes, into.end, outermost);
    return at;
  } catch (error) {
    if (error !== GIVEN_UP) throw error;
    return -1;
  } finally {
    input = NOTHING;
  }
}

/** Lets go of what large values needed. Call it when the last value of a text, or of several, was read. */
export function endCanonicalBytes(): void {
  if (members.length > START_MEMBERS) members = new Int32Array(START_MEMBERS);
  if (out.length > KEPT_BYTES) useOut(START_BYTES);
  if (spare.length > KEPT_BYTES) useSpare(START_BYTES);
}

/** Whether a text since the last call had bytes beyond ASCII: they are UTF-8 only if the caller finds so. */
export function sawHighBytes(): boolean {
  const saw = highBits >= 0x80;
  highBits = 0;
  return saw;
}

function giveUp(): never {
  throw GIVEN_UP;
}

/** The byte at `at` behind white space, 0 at the end. */
function nextByte(): number {
  const bytes = input;
  let i = at;
  while (i < end) {
    const byte = bytes[i]!;
    if (byte > 0x20) {
      at = i;
      return byte;
    }
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) giveUp();
    i++;
  }
  at = i;
  return 0;
}

function scanValue(depth: number): void {
  switch (nextByte()) {
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
  const { length } = word;
  if (at + length > end) giveUp();
  for (let i = 0; i < length; i++) {
    const byte = word.charCodeAt(i);
    if (input[at + i] !== byte) giveUp();
    out[outAt + i] = byte;
  }
  at += length;
  outAt += length;
}

function scanArray(depth: number): void {
  if (depth > depthLimit) giveUp();
  at++;
  out[outAt++] = 0x5b;
  if (nextByte() === 0x5d) {
    at++;
    out[outAt++] = 0x5d;
    return;
  }
  for (;;) {
    scanValue(depth);
    const byte = nextByte();
    if (byte !== 0x2c && byte !== 0x5d) giveUp();
    at++;
    out[outAt++] = byte;
    if (byte === 0x5d) return;
  }
}

function scanObject(depth: number): void {
  if (depth > depthLimit) giveUp();
  at++;
  out[outAt++] = 0x7b;
  if (nextByte() === 0x7d) {
    at++;
    out[outAt++] = 0x7d;
    return;
  }
  const base = memberTop;
  let node = rootNode();
  pushMember();
  do {
    const known = scanKnownKey(node);
    if (known === undefined) return scanDictionary(depth, base, keysOf(node));
    node = known;
  } while (scanToNextKey(depth));
  closeObject(depth, base, orderOf(node));
}

function closeObject(depth: number, base: number, order: readonly number[] | null): void {
  if (depth === 1) outermost = order;
  else {
    if (order !== null) putInOrder(base, order);
    memberTop = base;
  }
  out[outAt++] = 0x7d;
}

/** An object whose keys are not worth remembering, from its first such key on. */
function scanDictionary(depth: number, base: number, keys: string[]): void {
  do keys.push(scanAnyKey());
  while (scanToNextKey(depth));
  const order = sortedOrder(keys);
  if (order !== null) for (let i = 1; i < order.length; i++) if (keys[order[i - 1]!] === keys[order[i]!]) giveUp();
  closeObject(depth, base, order);
}

/** What stands behind a key, up to the next one; false where the object ends instead. */
function scanToNextKey(depth: number): boolean {
  scanColon();
  scanValue(depth);
  const byte = nextByte();
  at++;
  if (byte === 0x7d) return false;
  if (byte !== 0x2c || nextByte() !== 0x22) giveUp();
  out[outAt++] = 0x2c;
  pushMember();
  return true;
}

function pushMember(): void {
  if (memberTop === members.length) {
    const larger = new Int32Array(members.length * 2);
    larger.set(members);
    members = larger;
  }
  members[memberTop++] = outAt;
}

function scanColon(): void {
  if (at < end && input[at] === 0x3a) at++;
  else if (nextByte() === 0x3a) at++;
  else giveUp();
  out[outAt++] = 0x3a;
}

/** The key at `at` where it is one that may come next; undefined, and nothing done, for any other. */
function scanKnownKey(node: KeyNode): KeyNode | undefined {
  if (at >= end || input[at] !== 0x22) giveUp();
  const guess = node.next;
  if (guess !== undefined && copyIfAt(guess.raw)) return guess;
  const bytes = input;
  let i = at + 1;
  let bits = 0;
  for (; ; i++) {
    if (i >= end) giveUp();
    const byte = bytes[i]!;
    if (byte === 0x22) break;
    if (byte === 0x5c) return undefined;
    if (byte < 0x20) giveUp();
    bits |= byte;
  }
  if (node.count >= MAX_SHAPE_KEYS) return undefined;
  const found = branchTo(node, bytes, at, i + 1);
  if (found !== undefined) {
    highBits |= bits;
    copyIfAt(found.raw);
  }
  return found;
}

function copyIfAt(raw: Uint8Array): boolean {
  const bytes = input;
  const to = out;
  const from = at;
  const { length } = raw;
  if (from + length > end) return false;
  let bits = 0;
  for (let i = 0; i < length; i++) {
    const byte = raw[i]!;
    if (bytes[from + i] !== byte) return false;
    to[outAt + i] = byte;
    bits |= byte;
  }
  highBits |= bits;
  at = from + length;
  outAt += length;
  return true;
}

/** Writes the key at `at`, and returns what it says. */
function scanAnyKey(): string {
  const from = outAt;
  scanString();
  const written = Buffer.from(out.buffer, out.byteOffset + from, outAt - from);
  // Read back from what is canonical by now, where a backslash is rare.
  return written.includes(0x5c) ? (JSON.parse(written.toString('utf8')) as string) : written.toString('utf8', 1, written.length - 1);
}

/** Members `base` and on, as they lie in `out`, to where they belong. */
function putInOrder(base: number, order: readonly number[]): void {
  const from = members[base]!;
  const length = outAt - from;
  if (spare.length < length + WORD_BYTES) useSpare(2 * length + WORD_BYTES);
  if (length > LOOP_BYTES) spare.set(out.subarray(from, outAt));
  else for (let i = 0; i < length; i += WORD_BYTES) spareView.setInt32(i, outView.getInt32(from + i));
  putMembers(spareView, members, base, from, order, length, outView, from);
}

/** The object in `out`, the first there is, at `start`, with a word to spare behind it. Returns where it ends. */
function putOutermost(into: Uint8Array, start: number, order: readonly number[]): number {
  if (into.buffer !== intoView.buffer) intoView = new DataView(into.buffer, into.byteOffset, into.length);
  into[start] = 0x7b;
  const to = putMembers(outView, members, 0, 0, order, outAt - 1, intoView, start + 1);
  into[to] = 0x7d;
  return to + 1;
}

function useOut(bytes: number, kept = 0): void {
  const larger = new Uint8Array(bytes);
  larger.set(out.subarray(0, kept));
  out = larger;
  outView = new DataView(larger.buffer);
}

function useSpare(bytes: number): void {
  spare = new Uint8Array(bytes);
  spareView = new DataView(spare.buffer);
}

/** From the opening quote to behind the closing one. */
function scanString(): void {
  const bytes = input;
  const to = out;
  const limit = end;
  let i = at + 1;
  let o = outAt;
  let bits = 0;
  to[o++] = 0x22;
  for (;;) {
    if (i >= limit) giveUp();
    const byte = bytes[i]!;
    // Most letters are above the backslash.
    if (byte <= 0x5c) {
      if (byte === 0x22) break;
      if (byte < 0x20) giveUp();
      if (byte === 0x5c) {
        at = i;
        outAt = o;
        scanEscape();
        i = at;
        o = outAt;
        continue;
      }
    }
    bits |= byte;
    to[o++] = byte;
    i++;
  }
  to[o++] = 0x22;
  highBits |= bits;
  at = i + 1;
  outAt = o;
}

/** The escape at `at`, both halves of a pair taken, written as JSON.stringify would write its character. */
function scanEscape(): void {
  switch (at + 1 < end ? input[at + 1]! : 0) {
    case 0x22:
      return putShortEscape(0x22);
    case 0x5c:
      return putShortEscape(0x5c);
    case 0x2f:
      out[outAt++] = 0x2f;
      at += 2;
      return;
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return putShortEscape(input[at + 1]!);
    case 0x75: {
      const unit = hex4(at + 2);
      at += 6;
      if (unit < 0xd800 || unit > 0xdfff) return putUnit(unit);
      if (unit > 0xdbff || at + 1 >= end || input[at] !== 0x5c || input[at + 1] !== 0x75) giveUp();
      const low = hex4(at + 2);
      if (low < 0xdc00 || low > 0xdfff) giveUp();
      at += 6;
      const point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
      out[outAt++] = 0xf0 | (point >> 18);
      out[outAt++] = 0x80 | ((point >> 12) & 0x3f);
      out[outAt++] = 0x80 | ((point >> 6) & 0x3f);
      out[outAt++] = 0x80 | (point & 0x3f);
      return;
    }
    default:
      giveUp();
  }
}

function putShortEscape(letter: number): void {
  out[outAt++] = 0x5c;
  out[outAt++] = letter;
  at += 2;
}

/** A UTF-16 unit that is a character by itself. */
function putUnit(unit: number): void {
  if (unit >= 0x800) {
    out[outAt++] = 0xe0 | (unit >> 12);
    out[outAt++] = 0x80 | ((unit >> 6) & 0x3f);
    out[outAt++] = 0x80 | (unit & 0x3f);
  } else if (unit >= 0x80) {
    out[outAt++] = 0xc0 | (unit >> 6);
    out[outAt++] = 0x80 | (unit & 0x3f);
  } else if (unit >= 0x20 && unit !== 0x22 && unit !== 0x5c) out[outAt++] = unit;
  else putAscii(JSON.stringify(String.fromCharCode(unit)).slice(1, -1));
}

function putAscii(text: string): void {
  for (let i = 0; i < text.length; i++) out[outAt++] = text.charCodeAt(i);
}

function hex4(start: number): number {
  if (start + 4 > end) giveUp();
  let value = 0;
  for (let i = start; i < start + 4; i++) {
    const digit = HEX.indexOf(String.fromCharCode(input[i]! | 0x20));
    // 0x10…0x19 would pass for digits.
    if (digit < 0 || input[i]! < 0x30) giveUp();
    value = value * 16 + digit;
  }
  return value;
}

function scanNumber(): void {
  const start = at;
  const behind = numberEnd(input, start, end);
  if (behind === 0) giveUp();
  at = Math.abs(behind);
  if (behind < 0) return putNumber(start, at);
  let o = outAt;
  for (let i = start; i < behind; i++) out[o++] = input[i]!;
  outAt = o;
}

/** A number of ours in another spelling, or none that can be held. */
function putNumber(start: number, stop: number): void {
  const text = Buffer.from(input.buffer, input.byteOffset + start, stop - start).toString('latin1');
  if (!keepsItsValue(text)) giveUp();
  const shortest = `${Number(text)}`;
  if (shortest.length > stop - start) makeRoom(shortest.length);
  putAscii(shortest);
}

/** For so many bytes besides what is left of the text. */
function makeRoom(more: number): void {
  const needed = outAt + end - at + more + NUMBER_BYTES;
  if (out.length >= needed) return;
  useOut(needed * 2, outAt);
}
