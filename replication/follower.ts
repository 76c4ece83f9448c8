/**
 * One shard of this node following another: a loop that never gives up.
 *
 *   connect -> stream -> queue -> apply, several messages at once -> report
 *           -> 409: rewind, or wait for a source that is behind     410: begin anew
 *
 * Invariants: what is taken was checked by the engine as if it came from a stranger, and nothing of a message that fails is kept; a source of another
 * database, or one that knows less than this copy, takes nothing away from it; ten seconds without a word end the connection. A crash costs
 * what was received and not yet synced: the next connection begins behind what is durable.
 */
import { type Clock, type ReplicaShard, recordSeedOf } from '../engine/copying.js';
import { isVarveError } from '../engine/index.js';
import { Backoff } from './backoff.js';
import { isEpoch } from './checks.js';
import { readEpochs, wayTo } from './history.js';
import { Intake } from './intake.js';
import { BadMessage, EPOCH_HEADER, MessageDecoder } from './message.js';
import { isRecord, readJson } from './peer-json.js';
import { HEARTBEAT_MS } from './source.js';
import { PeerError, type PeerResponse, type Transport } from './transport.js';

export const SILENCE_MS = 10_000;
const CONNECT_MS = 10_000;
/** After a goodbye: a source that closes is gone a moment later. */
const GOODBYE_MS = 50;
/** Between two attempts at least, however sure somebody is that the source is there again. */
const LEAST_PAUSE_MS = 1_000;
/** What a connection that ended in a rewind gives as its reason: the next one begins at once. */
const REWOUND = '';

export interface FollowerStatus {
  /** The source. */
  readonly url: string;
  readonly connected: boolean;
  /** Since it last had all that its source had, or began to follow; 0 while it has. */
  readonly lagSeconds: number;
  /** Newest word of the source. */
  readonly sourceSeq: number;
  readonly receivedBytes: number;
  /** Taken over with one write each. */
  readonly appliedSlices: number;
  readonly connections: number;
  /** Messages that were refused. */
  readonly refused: number;
  readonly rewinds: number;
  readonly lastError: string | undefined;
}

export interface FollowerOptions {
  readonly shard: ReplicaShard;
  readonly database: string;
  readonly url: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly randomBytes: (size: number) => Uint8Array;
  /** It has more than before (`moved`), or heard from its source: time to report. */
  readonly onProgress: (moved: boolean) => void;
  /**
   * Asked once this copy has all that its source had: may it have a say? Then, the epoch below which it must take nothing any more; undefined: not yet.
   */
  readonly mayHaveSay: () => Promise<number | undefined>;
  /** Called before the log loses something, and after. */
  readonly onRewind: (phase: 'before' | 'after', file?: string) => void;
  /** The connection failed or ended, with a goodbye where no error is given: perhaps somebody else owns the shard by now. */
  readonly onTrouble: (error: string | undefined) => void;
  /** The source's log does not reach back to where this one ends. */
  readonly onTooOld: () => void;
  /** Bytes were refused. */
  readonly onRefused: (error: string) => void;
}

export class Follower {
  readonly #options: FollowerOptions;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #connected = false;
  #currentMs: number;
  #sourceSeq = 0;
  #isCurrent = false;
  #receivedBytes = 0;
  #appliedSlices = 0;
  #connections = 0;
  #refused = 0;
  #rewinds = 0;
  #lastError: string | undefined;
  #wakeNow: (() => void) | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.randomBytes);
    this.#currentMs = options.clock.monotonicMs();
    this.#ended = this.#run();
  }

  get url(): string {
    return this.#options.url;
  }

  get status(): FollowerStatus {
    const { clock, url } = this.#options;
    return {
      url,
      connected: this.#connected,
      lagSeconds: this.#lagMs(clock.monotonicMs()) / 1000,
      sourceSeq: this.#sourceSeq,
      receivedBytes: this.#receivedBytes,
      appliedSlices: this.#appliedSlices,
      connections: this.#connections,
      refused: this.#refused,
      rewinds: this.#rewinds,
      lastError: this.#lastError,
    };
  }

  /** The source was heard to be there: no need to wait for longer before it is tried again. */
  wake(): void {
    this.#wakeNow?.();
  }

  /** Resolves once nothing more of it touches the shard. */
  close(): Promise<void> {
    this.#stop.abort();
    return this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let why: string | undefined;
      let waitMs = 0;
      try {
        why = await this.#once();
      } catch (error) {
        why = error instanceof Error ? error.message : String(error);
        if (error instanceof BadMessage || isVarveError(error, 'UNSOUND')) {
          this.#refused++;
          this.#options.onRefused(why);
        }
      }
      this.#connected = false;
      if (signal.aborted) return;
      if (why === undefined) waitMs = GOODBYE_MS;
      else if (why !== REWOUND) {
        this.#lastError = why;
        waitMs = this.#backoff.next();
      }
      if (why !== REWOUND) this.#options.onTrouble(why);
      await this.#pause(waitMs);
    }
  }

  /** One connection, to its end. Why it ended; undefined after a goodbye. */
  async #once(): Promise<string | undefined> {
    const { shard, transport, url, database } = this.#options;
    // Whether a source would ask for it again is not sure: the log may be where it should be by now.
    if (shard.isRewindCutShort) return this.#rewind(shard.durableSeq);
    const { durableSeq, epoch } = shard;
    const path = `/replication/v1/shards/${shard.id}/log?after=${durableSeq}&epoch=${durableSeq === 0 ? 0 : epoch}`;
    const connection = new AbortController();
    const hangUp = (): void => connection.abort();
    this.#stop.signal.addEventListener('abort', hangUp);
    try {
      const request = { method: 'GET', path, timeoutMs: CONNECT_MS, stream: true, signal: connection.signal } as const;
      const response = await transport.request(url, request);
      const theirs = response.headers['varve-database'];
      if (theirs !== database) {
        hangUp();
        return theirs === undefined
          ? `${url}: it answered ${response.status} and is no node`
          : `${url}: it holds another database (${theirs})`;
      }
      if (response.status !== 200) return await this.#refusal(response);
      this.#connections++;
      await this.#read(response, connection);
      return undefined;
    } finally {
      this.#stop.signal.removeEventListener('abort', hangUp);
      hangUp();
    }
  }

  async #refusal(response: PeerResponse): Promise<string> {
    const { shard, url, onTooOld } = this.#options;
    const answer = await readJson(url, response);
    if (answer.status === 410) {
      onTooOld();
      return `${url}: its log does not reach back to seq ${shard.durableSeq}: move this data directory away and start with --follow, to begin anew`;
    }
    const epochs = answer.status === 409 && isRecord(answer.json) ? readEpochs(answer.json['epochs']) : undefined;
    if (epochs === undefined) return `${url}: it answered ${answer.status}`;
    const way = wayTo(shard.epochs(), epochs);
    if (way.way === 'behind') return `${url}: ${way.why}`;
    if (way.way === 'stream') return `${url}: it refuses a position that is in its history`;
    return this.#rewind(way.seq);
  }

  async #rewind(seq: number): Promise<string> {
    const { shard, onRewind } = this.#options;
    onRewind('before');
    const aside = await shard.rewind(seq);
    this.#rewinds++;
    onRewind('after', aside?.file);
    return REWOUND;
  }

  async #read(response: PeerResponse, connection: AbortController): Promise<void> {
    const { shard, database, clock, onProgress } = this.#options;
    const decoder = new MessageDecoder(recordSeedOf(database, shard.id));
    const sourceEpoch = Number(response.headers[EPOCH_HEADER.toLowerCase()] ?? 0);
    if (!isEpoch(sourceEpoch)) throw new PeerError(this.url, 'it does not say of which epoch its log is');
    const intake = new Intake(shard, sourceEpoch, () => {
      this.#appliedSlices++;
      this.#settled();
      this.#noteCurrency();
      noteCaughtUp();
      onProgress(true);
    });
    let goal: number | undefined;
    let asking = false;
    /** It had all that its source had when it connected: from then on it may have a say in promotions. */
    const noteCaughtUp = (): void => {
      if (goal === undefined || asking || shard.promised.caughtUp || shard.durableSeq < goal) return;
      asking = true;
      this.#haveSay()
        .catch(() => connection.abort())
        .finally(() => {
          asking = false;
        });
    };
    let first = true;
    let heardMs = clock.monotonicMs();
    let silent = false;
    const watch = (): void => {
      const left = heardMs + SILENCE_MS - clock.monotonicMs();
      // While bytes wait here it is not the source that is slow.
      if (left > 0 || intake.isFull) cancel = clock.after(Math.max(left, 1_000), watch);
      else {
        silent = true;
        connection.abort();
      }
    };
    let cancel = clock.after(SILENCE_MS, watch);
    intake.onFailure(() => connection.abort());
    try {
      for await (const chunk of response.body) {
        heardMs = clock.monotonicMs();
        this.#receivedBytes += chunk.length;
        decoder.push(chunk);
        for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
          this.#connected = true;
          this.#sourceSeq = message.durableSeq;
          if (message.kind === 'goodbye') return;
          if (message.kind === 'batches') intake.add(message);
          else {
            if (first) goal = message.durableSeq;
            // It has lasted: whatever was wrong is over.
            else this.#settled();
            this.#noteCurrency();
            noteCaughtUp();
            onProgress(false);
          }
          first = false;
        }
        if (intake.isFull) await intake.room();
        if (intake.failed) break;
      }
      throw new PeerError(this.url, 'the stream ended without a goodbye');
    } catch (error) {
      if (silent) throw new PeerError(this.url, `nothing was heard for ${SILENCE_MS / 1000} s`, true, { cause: error });
      throw error;
    } finally {
      cancel();
      // What was received is good whatever became of the connection; if it is not, that is the reason to tell.
      await intake.drain();
    }
  }

  async #haveSay(): Promise<void> {
    const { shard, mayHaveSay, onProgress } = this.#options;
    const floor = await mayHaveSay();
    if (floor === undefined || this.#stop.signal.aborted) return;
    await shard.noteCaughtUp(floor);
    onProgress(true);
  }

  #settled(): void {
    this.#backoff.reset();
    this.#lastError = undefined;
  }

  /** A source that has been silent for longer than a heartbeat may have more by now. */
  #lagMs(nowMs: number): number {
    const sinceMs = nowMs - this.#currentMs;
    return this.#connected && this.#isCurrent && sinceMs < HEARTBEAT_MS * 1.5 ? 0 : sinceMs;
  }

  /** Whether it has all that the source said it has. */
  #noteCurrency(): void {
    this.#isCurrent = this.#connected && this.#options.shard.durableSeq >= this.#sourceSeq;
    if (this.#isCurrent) this.#currentMs = this.#options.clock.monotonicMs();
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#options;
    if (ms === 0) return clock.yield();
    const beganMs = clock.monotonicMs();
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#wakeNow = undefined;
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = clock.after(ms, done);
      this.#wakeNow = () => {
        if (clock.monotonicMs() - beganMs >= LEAST_PAUSE_MS) done();
      };
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }
}
