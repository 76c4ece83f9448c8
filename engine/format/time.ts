/**
 * Times: RFC 3339 text and microseconds since 1970 (exact safe integers), 1970-01-01 to 2255-06-05. No clock is read here.
 *
 * Reading takes any offset and any precision, and rounds what is finer than a microsecond down. Writing gives one shape,
 * `YYYY-MM-DDTHH:MM:SS.ffffffZ`, so times as text sort as times do. Leap seconds have no number and are refused.
 */
import { assert, VarveError } from '../errors.js';
import type { Micros } from '../platform/platform.js';
import type { Timestamp } from '../types.js';
import { MAX_MICROS } from './limits.js';

const SHAPE = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;
const EXPECTED = 'an RFC 3339 time such as 2026-11-21T08:00:00.000000Z';
const MICROS_PER_SECOND = 1_000_000;
const SECONDS_PER_DAY = 86_400;
/** Longer fractions are refused before the pattern meets them. */
const MAX_CHARS = 128;

/** Throws INVALID, its `path` as given, for anything but an RFC 3339 time in range. */
export function parseTime(text: unknown, path = 'time'): Micros {
  if (typeof text !== 'string' || text.length > MAX_CHARS) return refuse(path, 'is not a time');
  const match = SHAPE.exec(text);
  if (match === null) return refuse(path, `${JSON.stringify(text)} is not a time`);
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map((group) => Number(match[group])) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (second === 60) return refuse(path, 'leap seconds cannot be held', 'a time outside a leap second: use :59, or the next minute');
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return refuse(path, `there is no such day as ${text.slice(0, 10)}`);
  if (hour > 23 || minute > 59 || second > 60) return refuse(path, `there is no such time of day as ${text.slice(11, 19)}`);
  const offsetHours = Number(match[9] ?? 0);
  const offsetMinutes = Number(match[10] ?? 0);
  if (offsetHours > 23 || offsetMinutes > 59) return refuse(path, 'there is no such offset');
  const offsetSeconds = (offsetHours * 60 + offsetMinutes) * 60 * (match[8] === '-' ? -1 : 1);
  // Date.UTC takes years 0–99 for 1900–1999; those are out of range either way.
  const seconds = Date.UTC(year, month - 1, day, hour, minute, second) / 1000 - offsetSeconds;
  const micros = seconds * MICROS_PER_SECOND + Number((match[7] ?? '').slice(0, 6).padEnd(6, '0'));
  if (year < 1969 || micros < 0 || micros > MAX_MICROS)
    return refuse(path, `${text} is out of range`, `a time from 1970-01-01T00:00:00Z to ${formatTime(MAX_MICROS)}`);
  return micros;
}

let cachedSecond = -1;
let cachedText = '';
let cachedDay = -1;
let cachedDayText = '';
const THREE_DIGITS = Array.from({ length: 1000 }, (_, i) => i.toString().padStart(3, '0'));

/** `YYYY-MM-DDTHH:MM:SS.ffffffZ`. Neighbours share their second or day: both are kept from the last call. */
export function formatTime(micros: Micros): Timestamp {
  assert(Number.isSafeInteger(micros) && micros >= 0, 'a time is a safe integer of microseconds');
  const second = Math.floor(micros / MICROS_PER_SECOND);
  if (second !== cachedSecond) {
    cachedText = formatSecond(second);
    cachedSecond = second;
  }
  const fraction = micros - second * MICROS_PER_SECOND;
  const millis = (fraction / 1000) | 0;
  return `${cachedText}${THREE_DIGITS[millis]!}${THREE_DIGITS[fraction - millis * 1000]!}Z` as Timestamp;
}

/** With the point that the fraction follows. */
function formatSecond(second: number): string {
  const day = Math.floor(second / SECONDS_PER_DAY);
  if (day !== cachedDay) {
    cachedDayText = new Date(day * SECONDS_PER_DAY * 1000).toISOString().slice(0, 11);
    cachedDay = day;
  }
  const rest = second - day * SECONDS_PER_DAY;
  return `${cachedDayText}${two((rest / 3600) | 0)}:${two(((rest / 60) | 0) % 60)}:${two(rest % 60)}.`;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function refuse(path: string, problem: string, expected = EXPECTED): never {
  throw new VarveError('INVALID', `${path}: ${problem}; expected ${expected}`, { path, expected });
}
