/**
 * `spoken.json` of a shard: the newest time it has answered for, where that is later than its newest record (law 5). Without it a clock
 * that goes back while nobody is at home would let a later batch have a time that was asked about before.
 *
 * Invariant: written by closing, so it covers what was answered by everybody who closed; what a process said that was killed is not in it.
 * It stays when it is outdone by a record. A damaged one is CORRUPT: what was said is not guessed.
 */
import { readChecked, writeChecked } from './checked-file.js';
import { VarveError } from './errors.js';
import type { Platform } from './platform/platform.js';

export const SPOKEN_FILE = 'spoken.json';

/** Microseconds; 0 where nothing was said. */
export function readSpokenTime(platform: Platform, directory: string): number {
  const path = `${directory}/${SPOKEN_FILE}`;
  const value = readChecked(platform, path) as { readonly time?: unknown } | undefined;
  if (value === undefined) return 0;
  const { time } = value;
  if (Number.isSafeInteger(time) && (time as number) > 0) return time as number;
  const what = 'it tells no time';
  throw new VarveError('CORRUPT', `${path}: ${what}`, { file: path, offset: 0, what });
}

/** Durable when it resolves. */
export function writeSpokenTime(platform: Platform, directory: string, time: number): Promise<void> {
  return writeChecked(platform, directory, `${directory}/${SPOKEN_FILE}`, { time });
}
