/** How a write to the log fails. After one the log answers reads only, until it is reopened (law 9). */
import { messageOf } from '../errors.js';

export class LogFailure extends Error {
  override readonly name = 'LogFailure';
  /** What was under way. */
  readonly stage: 'write' | 'sync';
  /** 'no': the frame is not on the disk, or provably incomplete there. 'maybe': only reopening can tell. */
  readonly reachedDisk: 'no' | 'maybe';

  constructor(message: string, stage: 'write' | 'sync', reachedDisk: 'no' | 'maybe', cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.stage = stage;
    this.reachedDisk = reachedDisk;
  }
}

/** Runs one blocking I/O step; whatever it throws becomes a LogFailure. */
export function stepNow<T>(what: string, stage: 'write' | 'sync', reachedDisk: 'no' | 'maybe', io: () => T): T {
  try {
    return io();
  } catch (cause) {
    throw failureOf(what, stage, reachedDisk, cause);
  }
}

/** Runs one I/O step; whatever it throws becomes a LogFailure. */
export async function step<T>(what: string, stage: 'write' | 'sync', reachedDisk: 'no' | 'maybe', io: () => T | Promise<T>): Promise<T> {
  try {
    return await io();
  } catch (cause) {
    throw failureOf(what, stage, reachedDisk, cause);
  }
}

function failureOf(what: string, stage: 'write' | 'sync', reachedDisk: 'no' | 'maybe', cause: unknown): LogFailure {
  return cause instanceof LogFailure ? cause : new LogFailure(`${what}: ${messageOf(cause)}`, stage, reachedDisk, cause);
}
