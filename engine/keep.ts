/** The part of a database's face that keeps and gives back: retention, snapshots, compaction, erasure, jobs. Types only. */
import type { JobControl, JobInfo, JobKind } from './jobs.js';
import type { Snapshot } from './retention/keeping.js';
import type { Retention } from './retention/policy.js';
import type { JsonValue, Point } from './types.js';

export interface CompactRequest {
  /** Default: all shards. */
  readonly shard?: number;
  /** Trim only this collection; segments hold many, so what is rewritten may hold others. */
  readonly collection?: string;
  /** Whatever is dead at all, small segments too, and what is not compressed yet (unless told not to), without waiting for a threshold. */
  readonly force?: boolean;
}

export interface EraseRequest {
  readonly collection: string;
  readonly key: string;
  /** Kept, and readable, for ever: up to 1024 bytes. */
  readonly reason: string;
}

/** Resolves with the copies that are still outstanding: none, or some where nobody waits for them any more. `tell`: those outstanding meanwhile. */
export type ConfirmErasure = (
  shard: number,
  seq: number,
  tell: (outstanding: readonly string[]) => void,
  control: Pick<JobControl, 'onCancel' | 'cancelled'>,
) => Promise<readonly string[]>;

export interface Keep {
  /** `{ keep: 'all' }` unless it was told otherwise. */
  retention(collection: string): Retention;
  /** Logged in every shard, or undone. Throws INVALID with the field, SYSTEM_COLLECTION. What is let go goes with the next compaction. */
  setRetention(collection: string, retention: JsonValue): Promise<Retention>;
  /** By name. */
  snapshots(): readonly Snapshot[];
  snapshot(name: string): Snapshot | undefined;
  /** What is visible at the point stays. SNAPSHOT_EXISTS for a name in use with another point, TRIMMED for a point before a horizon. */
  createSnapshot(name: string, asOf: Point): Promise<Snapshot>;
  /** False where there is none of that name. */
  deleteSnapshot(name: string): Promise<boolean>;
  /** Trims what retention lets go and rewrites the segments where that is worth it. Result: certificates and totals. */
  compact(request?: CompactRequest): JobInfo;
  /** Logs the erasure, then a job that takes the bodies out of every file. INVALID where the entity never existed. */
  erase(request: EraseRequest): Promise<JobInfo>;
  /** An erasure that is carried out here is done only when `confirm` resolves: once every copy has carried it out too. */
  confirmErasures(confirm: ConfirmErasure): void;
  /** Runs work of others as a job among these: verifications. Throws OVERLOADED, CLOSED. */
  startJob(kind: JobKind, request: JsonValue, work: (control: JobControl) => Promise<JsonValue>): JobInfo;
  /** Newest first. */
  jobs(): readonly JobInfo[];
  job(id: string): JobInfo | undefined;
  /** What a compaction has swapped by then stays. */
  cancelJob(id: string): JobInfo | undefined;
  /** Holds it where it is, or lets it go on; what waits for it waits on. One that has ended stays as it is. */
  pauseJob(id: string, isPaused: boolean): JobInfo | undefined;
  /** Tells every change until the job has ended; returns how to end that before. */
  watchJob(id: string, tell: (job: JobInfo) => void): () => void;
  /** Resolves once it has ended. */
  jobEnded(id: string): Promise<JobInfo | undefined>;
  /** Why the newest compaction or erasure failed, until one succeeds. */
  readonly upkeepFailure: string | undefined;
}
