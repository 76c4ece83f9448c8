import { describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { durationMicros, parseRetention } from '../../engine/retention/policy.js';
import type { JsonValue } from '../../engine/types.js';

describe('a retention', () => {
  it('is one of three, with nothing else in it', () => {
    for (const sound of [{ keep: 'all' }, { keep: 'for', duration: 'P30D' }, { keep: 'last', versions: 5 }])
      expect(parseRetention(sound)).toEqual(sound);
    const wrong: [JsonValue, string][] = [
      [null, 'retention'],
      ['all', 'retention'],
      [{}, 'keep'],
      [{ keep: 'some' }, 'keep'],
      [{ keep: 'all', versions: 1 }, 'versions'],
      [{ keep: 'last' }, 'versions'],
      [{ keep: 'last', versions: 0 }, 'versions'],
      [{ keep: 'last', versions: 1.5 }, 'versions'],
      [{ keep: 'for', duration: 30 }, 'duration'],
      [{ keep: 'for', duration: 'P1Y' }, 'duration'],
    ];
    for (const [value, path] of wrong) {
      try {
        parseRetention(value);
        expect.unreachable();
      } catch (error) {
        expect(isVarveError(error, 'INVALID') && error.details.path).toBe(path);
      }
    }
  });

  it('counts a duration in units that have one length', () => {
    const seconds = (text: string) => durationMicros(text) / 1e6;
    expect(seconds('P2W')).toBe(14 * 86_400);
    expect(seconds('P1DT2H3M4S')).toBe(86_400 + 7200 + 180 + 4);
    expect(seconds('PT90M')).toBe(5400);
    expect(seconds('P0D')).toBe(0);
    for (const wrong of ['', 'P', 'PT', 'P1DT', '1D', 'P1M', 'P-1D', 'PT1.5H', 'P1W2D', 'P9999999D'])
      expect(() => durationMicros(wrong)).toThrow();
  });
});
