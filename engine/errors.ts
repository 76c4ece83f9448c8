/**
 * Every error the engine throws on purpose: one class, a literal `code`, typed details. Callers switch on
 * `code`, never on the message. An error without a code that reaches a caller is a bug of ours.
 */

/** What each code carries in `details`. */
export interface ErrorDetails {
  /** A caller's value is unusable. `path` names the place in what was passed (`records[3].key`, `line 7, column 12`). */
  INVALID: { path: string; expected: string };
  /** A body, batch, key or line is over its limit. */
  TOO_LARGE: { what: string; limit: number; actual?: number };
  /** A batch or a question reaches over more than one shard where only one is allowed. */
  CROSS_SHARD: { shards: number[] };
  /** The entity's newest version is not the expected one. `current` is its id, or null where it does not exist. */
  CONFLICT: { collection: string; key: string; current: string | null };
  /** A delete found nothing alive to end. */
  NOTHING_TO_DELETE: { collection: string; key: string };
  /** A ref names a record that is unknown, dropped, later, or in another shard. */
  BAD_REF: { ref: string; reason: 'unknown' | 'dropped' | 'later' | 'other-shard' };
  /** A client-given time is not later than the shard's newest. */
  TIME_BEHIND: { newest: string };
  /** A point in time lies in the future. */
  TIME_AHEAD: { now: string };
  /** An idempotency key was used before with other content. */
  IDEMPOTENCY_MISMATCH: { key: string };
  /** Properties that are fixed once a collection has records. */
  PLACEMENT_FIXED: { collection: string; placement: string };
  /** Names beginning with `_` are readable only. */
  SYSTEM_COLLECTION: { collection: string };
  /** The write never reached the disk. */
  NOT_WRITTEN: { shard: number; reason: string };
  /** The write may or may not survive: it was on its way to the disk when that failed. */
  OUTCOME_UNKNOWN: { shard: number; reason: string };
  /** The shard is recovering from a failed write or rebuilding its index; what was asked depends on the outcome. */
  UNAVAILABLE: { shard: number; reason: string };
  /** The shard cannot answer exactly: part of its log is damaged and no copy is at hand. `fromSeq..toSeq` is what is missing. */
  DAMAGED: { shard: number; fromSeq: number; toSeq: number };
  /** Another node owns the shard; undefined where it is not known which, or none does. */
  NOT_OWNER: { shard: number; owner: string | undefined; url: string | undefined };
  /** This copy has not applied the log through `seq` yet, and before that its answers would have gaps that nothing explains. */
  BEHIND: { shard: number; seq: number };
  /** This copy's tree has another root than its owner's at `seq`: it answers nothing until they agree. */
  DIVERGED: { shard: number; seq: number };
  /** The tree is beyond the seq that was asked for: it stands at `seq`. */
  PASSED: { shard: number; seq: number };
  /** What another node sent is not what it should be; nothing of it was taken. */
  UNSOUND: { shard: number; what: string };
  /** Bytes failed their checksum, hash or structure. */
  CORRUPT: { file: string; offset: number; what: string };
  /** The point lies before what is kept, and the answer there is not known any more. `horizon`: id of the first point that is exact. */
  TRIMMED: { collection: string; horizon: string };
  /** The body is gone for good; what the record was otherwise is still there. */
  ERASED: { id: string };
  /** The name is in use for another point in time. */
  SNAPSHOT_EXISTS: { name: string; asOf: string };
  /** Another process holds the data directory. */
  LOCKED: { path: string };
  /** The data directory is on a network file system. */
  NETWORK_FILE_SYSTEM: { kind: string };
  /** The directory's format or shard count is not what was asked for or what this version reads. */
  INCOMPATIBLE: { expected: string; found: string };
  /** Too much is queued; try again after `retryAfterMs`. */
  OVERLOADED: { retryAfterMs: number };
  /** The database has been closed, or is closing. */
  CLOSED: Record<never, never>;
}

export type ErrorCode = keyof ErrorDetails;

export class VarveError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'VarveError';
  readonly code: C;
  readonly details: ErrorDetails[C];

  constructor(code: C, message: string, details: ErrorDetails[C], cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}

/** True for a VarveError with this code; narrows its details. */
export function isVarveError<C extends ErrorCode>(error: unknown, code: C): error is VarveError<C> {
  return error instanceof VarveError && error.code === code;
}

/** What anything thrown has to say. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Says "our bug": stops the shard it happens in. Never for bytes from a disk or a peer; those are CORRUPT. */
export function assert(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${claim}`);
}
