/**
 * Long work that people start and watch: compactions, erasures, verifications. A job has a state, a progress and in the end a result
 * or a reason; it can be cancelled, and paused, where the work listens.
 *
 *   queued -> running -> done | failed | cancelled            one of a kind runs at a time, in the order they came
 *
 * A paused job keeps its state and its place: what waits for it waits on. One that is paused while it is queued begins, and stops at the
 * first place where it listens.
 *
 * Jobs are memory of this process, for people; what they did is in the log and the files. After a restart there are none: work that was
 * cut short is begun again by those who want it.
 */
import { messageOf, VarveError } from './errors.js';
import { formatTime } from './format/time.js';
import type { Platform } from './platform/platform.js';
import type { JsonValue, Timestamp } from './types.js';

export type JobKind = 'compaction' | 'erasure' | 'verification';
export type JobState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';

export interface JobInfo {
  readonly id: string;
  readonly kind: JobKind;
  readonly state: JobState;
  /** Nothing of it goes on until it is resumed. False once it has ended. */
  readonly paused: boolean;
  /** 0 to 1. */
  readonly progress: number;
  /** What was asked for. */
  readonly request: JsonValue;
  readonly created: Timestamp;
  readonly started: Timestamp | null;
  readonly ended: Timestamp | null;
  readonly result: JsonValue;
  /** Why it failed. */
  readonly error: string | null;
}

/** What the work of a job is given. */
export interface JobControl {
  progress(share: number): void;
  /** Called at once where it was cancelled already. */
  onCancel(cancel: () => void): void;
  /** Told at once where it was paused already, and at every change from then on. */
  onPause(change: (isPaused: boolean) => void): void;
  readonly cancelled: boolean;
}

type Work = (control: JobControl) => Promise<JsonValue>;
/** What is waited for once the work is done, while others of the kind have their turn; `tell` changes the result meanwhile. */
export type Settling = (control: JobControl, result: JsonValue, tell: (result: JsonValue) => void) => Promise<JsonValue>;

interface Job {
  info: JobInfo;
  cancelled: boolean;
  cancels: (() => void)[];
  pauses: ((isPaused: boolean) => void)[];
  watchers: Set<(info: JobInfo) => void>;
  ended: Promise<void>;
}

const MAX_KEPT = 1000;
const MAX_WAITING = 100;

export class Jobs {
  readonly #platform: Platform;
  readonly #jobs = new Map<string, Job>();
  readonly #last = new Map<JobKind, Promise<void>>();
  #closing = false;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Newest first. */
  get all(): readonly JobInfo[] {
    return [...this.#jobs.values()].map(({ info }) => info).reverse();
  }

  get(id: string): JobInfo | undefined {
    return this.#jobs.get(id)?.info;
  }

  /** Throws OVERLOADED where too many wait already. */
  start(kind: JobKind, request: JsonValue, work: Work, settling?: Settling): JobInfo {
    const waiting = [...this.#jobs.values()].filter(({ info }) => !isEnded(info)).length;
    if (waiting >= MAX_WAITING) throw new VarveError('OVERLOADED', `${waiting} jobs are waiting`, { retryAfterMs: 10_000 });
    if (this.#closing) throw new VarveError('CLOSED', 'the database is closing', {});
    const id = Buffer.from(this.#platform.randomBytes(8)).toString('hex');
    const job: Job = {
      info: {
        id,
        kind,
        state: 'queued',
        paused: false,
        progress: 0,
        request,
        created: this.#now(),
        started: null,
        ended: null,
        result: null,
        error: null,
      },
      cancelled: false,
      cancels: [],
      pauses: [],
      watchers: new Set(),
      ended: Promise.resolve(),
    };
    this.#jobs.set(id, job);
    const worked = (this.#last.get(kind) ?? Promise.resolve()).then(() => this.#run(job, work, settling));
    this.#last.set(
      kind,
      worked.then(() => undefined),
    );
    job.ended = worked.then((rest) => rest?.end);
    this.#forgetOld();
    return job.info;
  }

  /** Undefined where there is none; a job that has ended stays as it is. */
  cancel(id: string): JobInfo | undefined {
    const job = this.#jobs.get(id);
    if (job === undefined) return undefined;
    if (!isEnded(job.info) && !job.cancelled) {
      job.cancelled = true;
      if (job.info.paused) this.#change(job, { paused: false });
      for (const cancel of job.cancels.splice(0)) cancel();
      if (job.info.state === 'queued') this.#end(job, { state: 'cancelled' });
    }
    return job.info;
  }

  /** Undefined where there is none; a job that has ended, or is being cancelled, stays as it is. */
  pause(id: string, isPaused: boolean): JobInfo | undefined {
    const job = this.#jobs.get(id);
    if (job === undefined) return undefined;
    if (!isEnded(job.info) && !job.cancelled && job.info.paused !== isPaused) {
      this.#change(job, { paused: isPaused });
      for (const change of job.pauses) change(isPaused);
    }
    return job.info;
  }

  /** Tells every change from now on until it has ended. Returns how to end that. */
  watch(id: string, tell: (info: JobInfo) => void): () => void {
    const watchers = this.#jobs.get(id)?.watchers;
    watchers?.add(tell);
    return () => watchers?.delete(tell);
  }

  /** Resolves once the job has ended, whichever way. */
  async ended(id: string): Promise<JobInfo | undefined> {
    await this.#jobs.get(id)?.ended;
    return this.get(id);
  }

  /** Cancels what runs and waits for it. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const id of this.#jobs.keys()) this.cancel(id);
    await Promise.all([...this.#jobs.values()].map(({ ended }) => ended));
  }

  /** Resolves once the work is done, with what is left to wait for. */
  async #run(job: Job, work: Work, settling: Settling | undefined): Promise<{ readonly end: Promise<void> } | undefined> {
    if (job.cancelled) return undefined;
    this.#change(job, { state: 'running', started: this.#now() });
    const control: JobControl = {
      progress: (share) => this.#change(job, { progress: Math.max(job.info.progress, Math.min(1, share)) }),
      onCancel: (cancel) => (job.cancelled ? cancel() : job.cancels.push(cancel)),
      onPause: (change) => {
        job.pauses.push(change);
        if (job.info.paused) change(true);
      },
      get cancelled() {
        return job.cancelled;
      },
    };
    const failed = (error: unknown) =>
      this.#end(job, job.cancelled ? { state: 'cancelled' } : { state: 'failed', error: messageOf(error) });
    const done = (result: JsonValue) =>
      this.#end(job, job.cancelled ? { state: 'cancelled', result } : { state: 'done', progress: 1, result });
    try {
      const result = await work(control);
      if (settling === undefined || job.cancelled) done(result);
      else {
        this.#change(job, { result });
        return { end: settling(control, result, (now) => this.#change(job, { result: now })).then(done, failed) };
      }
    } catch (error) {
      failed(error);
    }
    return undefined;
  }

  #end(job: Job, change: Partial<JobInfo>): void {
    this.#change(job, { ...change, paused: false, ended: this.#now() });
    job.watchers.clear();
  }

  #change(job: Job, change: Partial<JobInfo>): void {
    job.info = { ...job.info, ...change };
    for (const tell of [...job.watchers]) tell(job.info);
  }

  #forgetOld(): void {
    for (const [id, { info }] of this.#jobs) {
      if (this.#jobs.size <= MAX_KEPT) return;
      if (isEnded(info)) this.#jobs.delete(id);
    }
  }

  #now(): Timestamp {
    return formatTime(this.#platform.clock.nowMicros());
  }
}

function isEnded({ state }: JobInfo): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}
