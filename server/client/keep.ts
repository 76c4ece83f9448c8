/**
 * What is kept and what is given back: retention, snapshots, compactions, erasures, jobs.
 *
 * Decisions that are the same when made twice are tried again; a job is asked for once, for a second one would be another.
 */
import { isProblem } from './problem.js';
import type { Transport } from './transport.js';
import type { CallOptions, Job, JsonValue, Retention, Snapshot } from './types.js';

const HEADERS = { 'Content-Type': 'application/json' };

export class Keep {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  retention(collection: string, options: CallOptions = {}): Promise<Retention> {
    return this.#ask<Retention>('GET', retentionPath(collection), undefined, options, true);
  }

  /** What it lets go goes with the next compaction. */
  setRetention(collection: string, retention: Retention, options: CallOptions = {}): Promise<Retention> {
    return this.#ask<Retention>('PUT', retentionPath(collection), { ...retention }, options, true);
  }

  async snapshots(options: CallOptions = {}): Promise<readonly Snapshot[]> {
    return (await this.#ask<{ snapshots: Snapshot[] }>('GET', '/v1/snapshots', undefined, options, true)).snapshots;
  }

  snapshot(name: string, options: CallOptions = {}): Promise<Snapshot | undefined> {
    return unlessAbsent(this.#ask<Snapshot>('GET', snapshotPath(name), undefined, options, true));
  }

  /** What is visible at the point stays; `snapshot-exists` for a name of another point, `trimmed` for a point before a horizon. */
  createSnapshot(name: string, asOf: string, options: CallOptions = {}): Promise<Snapshot> {
    return this.#ask<Snapshot>('PUT', snapshotPath(name), { asOf }, options, true);
  }

  /** `not-found` where there is none. */
  async deleteSnapshot(name: string, options: CallOptions = {}): Promise<void> {
    await this.#ask('DELETE', snapshotPath(name), undefined, options, false);
  }

  compact(
    request: { readonly shard?: number; readonly collection?: string; readonly force?: boolean } = {},
    options: CallOptions = {},
  ): Promise<Job> {
    return this.#ask<Job>('POST', '/v1/compactions', { ...request }, options, false);
  }

  /** The bodies of all versions go, for good. */
  erase(request: { readonly collection: string; readonly key: string; readonly reason: string }, options: CallOptions = {}): Promise<Job> {
    return this.#ask<Job>('POST', '/v1/erasures', { ...request }, options, false);
  }

  async jobs(options: CallOptions = {}): Promise<readonly Job[]> {
    return (await this.#ask<{ jobs: Job[] }>('GET', '/v1/jobs', undefined, options, true)).jobs;
  }

  /** Compares with other copies, `deep`: reads every byte back, `repair`: mends what is damaged. The result is the job's. */
  verify(
    request: { readonly shard?: number; readonly peers?: readonly string[]; readonly repair?: boolean; readonly deep?: boolean } = {},
    options: CallOptions = {},
  ): Promise<Job> {
    const { peers, ...rest } = request;
    return this.#ask<Job>('POST', '/v1/verifications', { ...rest, ...(peers === undefined ? {} : { peers: [...peers] }) }, options, false);
  }

  job(id: string, options: CallOptions = {}): Promise<Job | undefined> {
    return unlessAbsent(this.#ask<Job>('GET', jobPath(id), undefined, options, true));
  }

  /** Holds a job where it is; jobs that wait for it wait on. One that has ended stays as it is. */
  pauseJob(id: string, options: CallOptions = {}): Promise<Job> {
    return this.#ask<Job>('PUT', jobPath(id), { paused: true }, options, true);
  }

  resumeJob(id: string, options: CallOptions = {}): Promise<Job> {
    return this.#ask<Job>('PUT', jobPath(id), { paused: false }, options, true);
  }

  cancelJob(id: string, options: CallOptions = {}): Promise<Job> {
    return this.#ask<Job>('DELETE', jobPath(id), undefined, options, true);
  }

  /** The job once it is done, failed or cancelled; undefined where the server does not know it (it forgets when it restarts). */
  async jobEnded(id: string, options: CallOptions = {}): Promise<Job | undefined> {
    for (let looks = 0; ; looks++) {
      const job = await this.job(id, options);
      if (job === undefined || job.ended !== null) return job;
      await this.#transport.sleep(this.#transport.backoff(Math.min(looks, 4)), options.signal);
    }
  }

  async #ask<R>(method: string, path: string, body: JsonValue | undefined, { signal }: CallOptions, again: boolean): Promise<R> {
    const sent = body === undefined ? {} : { headers: HEADERS, body: JSON.stringify(body) };
    return (await this.#transport.request(method, path, { ...sent, signal, again })).json as R;
  }
}

async function unlessAbsent<R>(work: Promise<R>): Promise<R | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isProblem(error, 'not-found')) return undefined;
    throw error;
  }
}

function retentionPath(collection: string): string {
  return `/v1/collections/${encodeURIComponent(collection)}/retention`;
}

function snapshotPath(name: string): string {
  return `/v1/snapshots/${encodeURIComponent(name)}`;
}

function jobPath(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`;
}
