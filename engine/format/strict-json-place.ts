/**
 * Says where in JSON text an offset lies: line and column for people with editors, a path for people with data. Only errors
 * come here, so it walks the text again rather than have the parser keep count. Never throws, whatever the bytes are.
 */
import { childPath } from './canonical-json-problem.js';

/** Both from 1; a column is a character (code point), a line ends with LF. */
export function lineAndColumn(bytes: Uint8Array, offset: number): { line: number; column: number } {
  let line = 1;
  let column = 1;
  for (let i = 0; i < offset && i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === 0x0a) {
      line++;
      column = 1;
    } else if ((byte & 0xc0) !== 0x80) column++;
  }
  return { line, column };
}

/** The value that `offset` lies in, as `$.items[2].name`; what comes before the offset is taken to be well-formed. */
export function jsonPathAt(bytes: Uint8Array, offset: number): string {
  /** Per open container: the index in an array, the key in an object, or undefined before its first key. */
  const open: (number | string | undefined)[] = [];
  /** A string now would be a key. */
  let keyNext = false;
  for (let i = 0; i < offset && i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === 0x22) {
      const end = endOfString(bytes, i, offset);
      if (keyNext && end < offset) open[open.length - 1] = keyText(bytes.subarray(i, end + 1));
      keyNext = false;
      i = end;
    } else if (byte === 0x7b) {
      open.push(undefined);
      keyNext = true;
    } else if (byte === 0x5b) open.push(0);
    else if (byte === 0x7d || byte === 0x5d) open.pop();
    else if (byte === 0x2c) {
      const current = open[open.length - 1];
      if (typeof current === 'number') open[open.length - 1] = current + 1;
      keyNext = typeof current !== 'number';
    }
  }
  return open.reduce<string>((path, step) => (step === undefined ? path : childPath(path, step)), '$');
}

/** Offset of the closing quote, or `limit` where there is none before it. */
function endOfString(bytes: Uint8Array, start: number, limit: number): number {
  for (let i = start + 1; i < limit && i < bytes.length; i++) {
    if (bytes[i] === 0x22) return i;
    if (bytes[i] === 0x5c) i++;
  }
  return limit;
}

function keyText(quoted: Uint8Array): string {
  const text = Buffer.from(quoted).toString('utf8');
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}

/** Offset of the first byte that is not part of a well-formed character (Unicode table 3-7), or the length. */
export function firstInvalidUtf8(bytes: Uint8Array): number {
  let i = 0;
  while (i < bytes.length) {
    const length = wellFormedAt(bytes, i);
    if (length === 0) return i;
    i += length;
  }
  return i;
}

/** Bytes of the character at `i`, 0 where there is none. */
function wellFormedAt(bytes: Uint8Array, i: number): number {
  const lead = bytes[i]!;
  if (lead < 0x80) return 1;
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (length === 0 || i + length > bytes.length) return 0;
  for (let k = 1; k < length; k++) if ((bytes[i + k]! & 0xc0) !== 0x80) return 0;
  const second = bytes[i + 1]!;
  const overlong = (lead === 0xe0 && second < 0xa0) || (lead === 0xf0 && second < 0x90);
  const outside = (lead === 0xed && second > 0x9f) || (lead === 0xf4 && second > 0x8f);
  return overlong || outside ? 0 : length;
}
