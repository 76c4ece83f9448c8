/**
 * Numbers as JSON text: does this one keep its value as a double? Stored numbers are written as the shortest decimal that
 * names the double, so a number is kept exactly when its decimal value equals that shortest decimal: 1.0, 1e2 and 0.10 are,
 * 9007199254740993, 1e400 and 0.1000000000000000055511151231257827 are not. -0 counts as 0.
 */

/** Up to this many digits any decimal of ordinary size survives the way through a double (DBL_DIG). */
export const ALWAYS_EXACT_DIGITS = 15;

/** A decimal value: 0.DIGITS × 10^exponent with neither end of DIGITS a zero; no digits for zero. */
interface Decimal {
  readonly digits: string;
  readonly exponent: number;
}

/** `text` must be a number by JSON's grammar, or what `String(number)` gives for a finite one. */
export function keepsItsValue(text: string): boolean {
  const value = Number(text);
  if (!Number.isFinite(value)) return false;
  const given = normalise(text);
  const kept = normalise(String(value));
  return given.digits === kept.digits && (given.digits === '' || given.exponent === kept.exponent);
}

function normalise(text: string): Decimal {
  const unsigned = text.startsWith('-') ? text.slice(1) : text;
  const e = unsigned.search(/[eE]/);
  const mantissa = e < 0 ? unsigned : unsigned.slice(0, e);
  const exponent = e < 0 ? 0 : Number(unsigned.slice(e + 1));
  const point = mantissa.indexOf('.');
  const digits = point < 0 ? mantissa : mantissa.slice(0, point) + mantissa.slice(point + 1);
  const whole = point < 0 ? mantissa.length : point;
  let first = 0;
  while (first < digits.length && digits.charCodeAt(first) === 0x30) first++;
  let end = digits.length;
  while (end > first && digits.charCodeAt(end - 1) === 0x30) end--;
  return { digits: digits.slice(first, end), exponent: exponent + whole - first };
}

/** `0.000000` and on: written with an exponent. */
const SMALL_ZEROS = 6;

/**
 * Where the number at `from` ends: the offset, negative where it may not be the shortest text of its double as it stands, 0 where there
 * is none, and a leading zero is one too many.
 */
export function numberEnd(bytes: Uint8Array, from: number, end: number): number {
  let i = from;
  if (i < end && bytes[i] === 0x2d) i++;
  const whole = i;
  i = digitsEnd(bytes, i, end);
  let digits = i - whole;
  const isZero = digits > 0 && bytes[whole] === 0x30;
  if (digits === 0 || (isZero && digits > 1)) return 0;
  let isShortest = !isZero || whole === from;
  if (i < end && bytes[i] === 0x2e) {
    const fraction = i + 1;
    i = digitsEnd(bytes, fraction, end);
    if (i === fraction) return 0;
    digits += i - fraction;
    isShortest = bytes[i - 1] !== 0x30 && !(isZero && startsSmall(bytes, fraction, i));
  }
  if (i < end && (bytes[i]! | 0x20) === 0x65) {
    isShortest = false;
    i++;
    if (i < end && (bytes[i] === 0x2b || bytes[i] === 0x2d)) i++;
    const exponent = i;
    i = digitsEnd(bytes, i, end);
    if (i === exponent) return 0;
  }
  return isShortest && digits <= ALWAYS_EXACT_DIGITS ? i : -i;
}

function digitsEnd(bytes: Uint8Array, from: number, end: number): number {
  let i = from;
  while (i < end && bytes[i]! >= 0x30 && bytes[i]! <= 0x39) i++;
  return i;
}

function startsSmall(bytes: Uint8Array, from: number, end: number): boolean {
  if (end - from < SMALL_ZEROS) return false;
  for (let i = from; i < from + SMALL_ZEROS; i++) if (bytes[i] !== 0x30) return false;
  return true;
}
