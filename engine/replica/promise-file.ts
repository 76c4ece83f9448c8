/**
 * `promise.json` of a shard: to whom this copy gave its word, and whether it was ever whole.
 *
 * Invariant: told only once durable. Without the file nothing was promised. A damaged one is CORRUPT: what was promised is not guessed.
 */
import { readChecked, writeChecked } from '../checked-file.js';
import { VarveError } from '../errors.js';
import type { Platform } from '../platform/platform.js';
import type { ReplicaPromise } from '../replica.js';

export const PROMISE_FILE = 'promise.json';
const NONE: ReplicaPromise = { epoch: 0, candidate: '', caughtUp: false };

export function readPromise(platform: Platform, directory: string): ReplicaPromise {
  const path = `${directory}/${PROMISE_FILE}`;
  const value = readChecked(platform, path) as Partial<ReplicaPromise> | undefined;
  if (value === undefined) return NONE;
  const { epoch, candidate, caughtUp } = value;
  if (Number.isSafeInteger(epoch) && typeof candidate === 'string' && typeof caughtUp === 'boolean')
    return { epoch: epoch as number, candidate, caughtUp };
  const what = 'its fields are not those of a promise';
  throw new VarveError('CORRUPT', `${path}: ${what}`, { file: path, offset: 0, what });
}

export function writePromise(platform: Platform, directory: string, promise: ReplicaPromise): Promise<void> {
  return writeChecked(platform, directory, `${directory}/${PROMISE_FILE}`, { ...promise });
}
