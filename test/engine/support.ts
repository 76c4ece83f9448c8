/** What the engine's tests share: one simulated machine, short names for what they ask of it. */
import { expect } from 'vitest';
import type { Database, OpenOptions } from '../../engine/database.js';
import { type ErrorCode, VarveError } from '../../engine/errors.js';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform, type MemoryPlatformOptions } from '../../engine/platform/memory.js';

export const SECOND = 1_000_000;
export const DAY = 24 * 3600 * SECOND;

export interface Machine {
  platform: MemoryPlatform;
  db: Database;
}

export async function machine(options: OpenOptions = {}, platformOptions: MemoryPlatformOptions = {}): Promise<Machine> {
  const platform = new MemoryPlatform({ seed: 7, ...platformOptions });
  return { platform, db: await openWith(platform, options) };
}

/** The error a promise or a call fails with, which must be one of ours. */
export async function failure(work: Promise<unknown> | (() => unknown)): Promise<VarveError> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    expect(error).toBeInstanceOf(VarveError);
    return error as VarveError;
  }
  throw new Error('it did not fail');
}

/** The error's code, after making sure that neither its words nor its details name a record id. */
export async function codeOf(work: Promise<unknown> | (() => unknown)): Promise<ErrorCode> {
  const error = await failure(work);
  if (error.code === 'NOT_WRITTEN' || error.code === 'OUTCOME_UNKNOWN') {
    expect(`${error.message} ${JSON.stringify(error.details)}`).not.toMatch(/[0-9a-f]{16}/);
  }
  return error.code;
}

/** Long enough for a shard that stopped to recover, if the disk lets it. */
export async function letRecover(platform: MemoryPlatform): Promise<void> {
  await platform.advanceAndSettle(30 * SECOND);
}

export async function reopen({ platform, db }: Machine, options: OpenOptions = {}): Promise<Machine> {
  await db.close();
  return { platform, db: await openWith(platform, options) };
}

/** The process dies: nothing is closed, all that was written is there. */
export async function afterKill({ platform }: Machine, options: OpenOptions = {}): Promise<Machine> {
  const next = platform.killProcess();
  return { platform: next, db: await openWith(next, options) };
}

export function timeOf(platform: MemoryPlatform): string {
  return new Date(platform.clock.nowMicros() / 1000).toISOString();
}
