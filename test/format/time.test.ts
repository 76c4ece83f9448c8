import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { MAX_MICROS } from '../../engine/format/limits.js';
import { formatTime, parseTime } from '../../engine/format/time.js';

const micros = fc.oneof(
  fc.integer({ min: 0, max: MAX_MICROS }),
  fc.integer({ min: 0, max: 10_000_000 }).map((n) => 1_763_712_000_000_000 + n),
);

describe('times', () => {
  it('come back as they went out', () => {
    fc.assert(
      fc.property(micros, (time) => {
        const text = formatTime(time);
        expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
        expect(parseTime(text)).toBe(time);
        expect(text.slice(0, 23)).toBe(new Date(Math.floor(time / 1000)).toISOString().slice(0, 23));
      }),
      { numRuns: 2000 },
    );
  });

  it('sort as text as they do as numbers', () => {
    fc.assert(
      fc.property(micros, micros, (a, b) => {
        expect(formatTime(a) < formatTime(b)).toBe(a < b);
      }),
    );
  });

  it('are read with any offset and precision, finer ones rounded down', () => {
    const base = parseTime('2026-11-21T08:00:00Z');
    expect(base).toBe(1_795_248_000_000_000);
    for (const text of [
      '2026-11-21t08:00:00z',
      '2026-11-21T09:30:00+01:30',
      '2026-11-20T20:00:00-12:00',
      '2026-11-21T08:00:00-00:00',
      '2026-11-21T08:00:00.000000999Z',
      '2026-11-22T07:59:00+23:59',
    ]) {
      expect(parseTime(text)).toBe(base);
    }
    expect(parseTime('2026-11-21T08:00:00.1Z')).toBe(base + 100_000);
    expect(parseTime('2026-11-21T08:00:00.123456789Z')).toBe(base + 123_456);
    expect(parseTime('2024-02-29T23:59:59.999999Z')).toBe(parseTime('2024-03-01T00:00:00Z') - 1);
    expect(parseTime('1970-01-01T00:00:00Z')).toBe(0);
    expect(parseTime('1969-12-31T23:00:00-01:00')).toBe(0);
    expect(formatTime(MAX_MICROS)).toBe('2255-06-05T23:47:34.740991Z');
    expect(parseTime('2255-06-05T23:47:34.740991Z')).toBe(MAX_MICROS);
  });

  it('are refused where they are no time or out of range', () => {
    for (const text of [
      '',
      'now',
      '2026-11-21',
      '2026-11-21T08:00Z',
      '2026-11-21 08:00:00Z',
      '2026-11-21T08:00:00',
      '2026-11-21T08:00:00.Z',
      '2026-11-21T08:00:00+01',
      '2026-11-21T08:00:00+0100',
      '2026-11-21T08:00:00+24:00',
      '2026-11-21T08:00:00+01:60',
      '2026-13-01T00:00:00Z',
      '2026-00-01T00:00:00Z',
      '2026-02-29T00:00:00Z',
      '2100-02-29T00:00:00Z',
      '2026-04-31T00:00:00Z',
      '2026-01-00T00:00:00Z',
      '2026-11-21T24:00:00Z',
      '2026-11-21T08:60:00Z',
      '2026-11-21T08:00:61Z',
      '1969-12-31T23:59:59Z',
      '1970-01-01T00:30:00+01:00',
      '0050-01-01T00:00:00Z',
      '2255-06-05T23:47:34.740992Z',
      '9999-12-31T23:59:59Z',
      '+2026-11-21T08:00:00Z',
      ' 2026-11-21T08:00:00Z',
      '2026-11-21T08:00:00Z\n',
      '٢٠٢٦-11-21T08:00:00Z',
      `2026-11-21T08:00:00.${'0'.repeat(1000)}Z`,
      1_763_712_000,
      null,
      undefined,
    ]) {
      let thrown: unknown;
      try {
        parseTime(text, 'asOf');
      } catch (error) {
        thrown = error;
      }
      expect(isVarveError(thrown, 'INVALID') && thrown.details.path, String(text)).toBe('asOf');
    }
  });

  it('in a leap second are refused by name', () => {
    expect(() => parseTime('2016-12-31T23:59:60Z')).toThrow('leap second');
  });
});
