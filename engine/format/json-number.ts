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
