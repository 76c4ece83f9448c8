/**
 * What a collection keeps, as people say it and as the log holds it (entities of `_retention`): everything, history for a
 * duration, or the last N versions.
 */
import { VarveError } from '../errors.js';
import type { JsonValue } from '../types.js';

export const RETENTION = '_retention';

export type Retention =
  | { readonly keep: 'all' }
  /** History for so long, and what was current at its start. ISO 8601: weeks, days, hours, minutes, seconds (`P30D`, `PT12H`). */
  | { readonly keep: 'for'; readonly duration: string }
  /** The newest versions of each entity; a tombstone is one. */
  | { readonly keep: 'last'; readonly versions: number };

export const KEEP_ALL: Retention = { keep: 'all' };
const MAX_VERSIONS = 1_000_000_000;
/** About a thousand years. */
const MAX_DURATION_MICROS = 1000 * 366 * 86_400 * 1e6;

/** Throws INVALID, naming the field, unless `value` is a retention with nothing else in it. */
export function parseRetention(value: JsonValue | undefined): Retention {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('retention', 'an object with a field "keep"');
  const { keep, ...rest } = value;
  const only = (...names: string[]): void => {
    const foreign = Object.keys(rest).find((name) => !names.includes(name));
    if (foreign !== undefined) throw invalid(foreign, `no such field beside "keep": ${JSON.stringify(keep)}`);
  };
  switch (keep) {
    case 'all':
      only();
      return KEEP_ALL;
    case 'for': {
      only('duration');
      const duration = rest['duration'];
      if (typeof duration !== 'string') throw invalid('duration', 'an ISO 8601 duration such as P30D or PT12H');
      durationMicros(duration);
      return { keep, duration };
    }
    case 'last': {
      only('versions');
      const versions = rest['versions'];
      if (typeof versions !== 'number' || !Number.isInteger(versions) || versions < 1 || versions > MAX_VERSIONS)
        throw invalid('versions', `a whole number from 1 to ${MAX_VERSIONS}`);
      return { keep, versions };
    }
    default:
      throw invalid('keep', '"all", "for" or "last"');
  }
}

const DURATION = /^P(?:(\d{1,9})W|(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?)$/;
const UNIT_SECONDS = [7 * 86_400, 86_400, 3600, 60, 1];

/** Microseconds of an ISO 8601 duration without years and months, whose lengths differ. Throws INVALID. */
export function durationMicros(text: string): number {
  const match = DURATION.exec(text);
  const parts = match?.slice(1) ?? [];
  if (match === null || text.endsWith('T') || parts.every((part) => part === undefined))
    throw invalid('duration', 'an ISO 8601 duration of weeks, days, hours, minutes or seconds, such as P30D or PT12H');
  const seconds = parts.reduce((sum, part, i) => sum + Number(part ?? 0) * UNIT_SECONDS[i]!, 0);
  if (seconds * 1e6 > MAX_DURATION_MICROS) throw invalid('duration', 'at most a thousand years');
  return seconds * 1e6;
}

function invalid(path: string, expected: string): VarveError {
  return new VarveError('INVALID', `${path}: expected ${expected}`, { path, expected });
}
