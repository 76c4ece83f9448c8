/**
 * What a database does for its space, by request and by itself: trims, compaction, erasure, each as a job.
 *
 *   compact  for each shard: trim by what is kept, then rewrite what is dead enough, segments and tree files
 *   erase    the erasure is logged, bodies are refused from then on; then their segments are rewritten
 *   itself   every so often: are there drops worth a rewrite, tree files full of old nodes, or versions that retention lets go by now?
 *
 * Invariants: trims and decisions take turns (keeping). Compactions and erasures take turns: segments have one rewriter. An erasure that
 * a restart cut short is begun again at open. A failure is told, and tried again later and later; writes and reads never wait for any of it.
 */
import type { BatchLimits } from './batch.js';
import { CompactHost } from './compaction/compact-host.js';
import type { Certificate } from './compaction/compact-shard.js';
import { Pace } from './compaction/pace.js';
import { messageOf, VarveError } from './errors.js';
import { checkCollection, checkKey, entityKey, isSystemCollection } from './format/keys.js';
import { MAX_REASON_BYTES } from './format/limits.js';
import { type JobControl, type JobInfo, type JobKind, Jobs, type Settling } from './jobs.js';
import type { CompactRequest, ConfirmErasure, EraseRequest } from './keep.js';
import type { Platform } from './platform/platform.js';
import type { Keeping } from './retention/keeping.js';
import { KEEP_ALL } from './retention/policy.js';
import type { TrimReport } from './retention/trimming.js';
import type { Shard } from './shard.js';
import type { Thresholds } from './shard-upkeep.js';
import { type JsonValue, recordId } from './types.js';

export interface UpkeepOptions {
  /** Looks after itself. Default true. */
  readonly automatic?: boolean;
  /** A segment is worth rewriting from this share of dead records on. Default 0.3. */
  readonly deadShare?: number;
  /** Once so many bytes of a shard's segments, or of its tree, are dead, they are given back whatever their share. Default: no such limit. */
  readonly deadBytes?: number;
  /** Bytes a second that compaction reads and writes. Default: no limit. */
  readonly bytesPerSecond?: number;
  /** Hours of the day (UTC) in which it begins by itself, `[22, 6]` for the night; default: any. */
  readonly hours?: readonly [number, number];
  /** What is rewritten is compressed. Default true. */
  readonly compress?: boolean;
  /** Milliseconds between two looks. Default: a minute. */
  readonly everyMs?: number;
}

export interface UpkeepParts {
  readonly platform: Platform;
  readonly shards: readonly Shard[];
  readonly keeping: Keeping;
  readonly limits: BatchLimits;
  readonly options: UpkeepOptions;
  shardFor(collection: string, key: string): Shard;
}

const DEFAULT_DEAD_SHARE = 0.3;
/** Threads for less are not started before it is known that there is work for them. */
const WORTH_PREPARING_BYTES = 32 * 1024 * 1024;
const EVERY_MS = 60_000;
const LAST_RETRY_MS = 3_600_000;
/** Trims are looked for again once so much has changed: planning reads the whole tree. */
const PLAN_SHARE = 16;
const PLAN_EVERY_MICROS = 3600 * 1e6;

export class Upkeep {
  readonly jobs: Jobs;
  readonly #parts: UpkeepParts;
  readonly #host: CompactHost;
  /** Compactions and erasures, one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #failure: string | undefined;
  #failures = 0;
  #cancelLook: () => void = () => undefined;
  #cancelResume: (() => void) | undefined;
  #looking: Promise<void> = Promise.resolve();
  #closing = false;
  #started = false;
  /** Erasures with a job under way: shard and event. */
  readonly #erasing = new Set<string>();
  /** See `Database.confirmErasures`. */
  confirmErasure: ConfirmErasure | undefined;
  /** Per shard: when it was planned for last, and how far it had come. */
  readonly #planned = new Map<Shard, { readonly seq: number; readonly time: number }>();

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.jobs = new Jobs(parts.platform);
    this.#host = new CompactHost(parts.platform, parts.options.compress ?? true);
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  /** After everything is open. */
  start(): void {
    this.#started = true;
    this.resume();
    this.#lookLater();
  }

  /** Goes on with erasures that are not carried out here: left by a crash, or logged by another node. */
  resume(): void {
    if (!this.#started || this.#closing) return;
    for (const shard of this.#parts.shards) {
      if (!shard.tells) continue;
      for (const { collection, key, seq } of shard.upkeep.erasures.open) {
        if (this.#erasing.has(`${shard.id} ${seq}`)) continue;
        try {
          this.#startErasing(shard, collection, key);
        } catch {
          // Too many wait: it is begun with the next change.
          this.#erasing.delete(`${shard.id} ${seq}`);
          return;
        }
      }
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#cancelLook();
    this.#cancelResume?.();
    await this.jobs.close();
    await this.#host.close();
    await this.#looking;
  }

  compact(request: CompactRequest = {}): JobInfo {
    const { shards } = this.#parts;
    if (request.collection !== undefined) checkCollection(request.collection, 'collection');
    if (request.shard !== undefined && shards[request.shard - 1] === undefined)
      throw new VarveError('INVALID', `there is no shard ${request.shard}`, { path: 'shard', expected: `1 to ${shards.length}` });
    const chosen = request.shard === undefined ? shards : [shards[request.shard - 1]!];
    return this.#start('compaction', { ...request }, (control) => this.#compact(chosen, request, control));
  }

  async erase({ collection, key, reason }: EraseRequest): Promise<JobInfo> {
    checkCollection(collection, 'collection');
    checkKey(key, 'key');
    if (isSystemCollection(collection)) throw new VarveError('SYSTEM_COLLECTION', `'${collection}' belongs to the system`, { collection });
    if (reason === '' || Buffer.byteLength(reason) > MAX_REASON_BYTES)
      throw new VarveError('INVALID', 'an erasure needs a reason', { path: 'reason', expected: `1 to ${MAX_REASON_BYTES} bytes of text` });
    const shard = this.#parts.shardFor(collection, key);
    await shard.upkeep.erasing.logErasure(collection, key, reason, this.#parts.limits);
    return this.#startErasing(shard, collection, key);
  }

  #startErasing(shard: Shard, collection: string, key: string): JobInfo {
    const seq = shard.upkeep.erasures.get(entityKey(collection, key))?.seq ?? 0;
    const name = `${shard.id} ${seq}`;
    this.#erasing.add(name);
    const safe = (control: JobControl) =>
      new Promise<void>((resolve) => control.onCancel(after(shard.upkeep.onceSafe(seq, resolve), resolve)));
    const carryOut = async (control: JobControl) => {
      if (control.cancelled) return null;
      const pace = this.#pace(control);
      const erased = await shard.upkeep.erasing.carryOut(collection, key, this.#host, pace, this.#parts.limits, control);
      return { ...certificateJson(erased.certificate), versions: erased.versions, outstanding: [] };
    };
    const settling: Settling = async (control, result, tell) => {
      const of = (outstanding: readonly string[]): JsonValue => ({
        ...(result as { [name: string]: JsonValue }),
        outstanding: [...outstanding],
      });
      return of((await this.confirmErasure?.(shard.id, seq, (outstanding) => tell(of(outstanding)), control)) ?? []);
    };
    const job = this.#start('erasure', { collection, key }, carryOut, safe, settling);
    void this.jobs.ended(job.id).then((ended) => {
      this.#erasing.delete(name);
      if (ended?.state === 'failed') this.#resumeLater();
    });
    return job;
  }

  /** A disk was full, or something was damaged that is mended by now: whoever was to be forgotten is not remembered because nothing else happens. */
  #resumeLater(): void {
    if (this.#closing || this.#cancelResume !== undefined) return;
    this.#cancelResume = this.#parts.platform.clock.after(this.#retryMs(this.#parts.options.everyMs ?? EVERY_MS), () => {
      this.#cancelResume = undefined;
      this.resume();
    });
  }

  #retryMs(everyMs: number): number {
    return Math.min(LAST_RETRY_MS, everyMs * 2 ** Math.min(this.#failures, 10));
  }

  /** `before` is waited for while others have their turn. */
  #start(
    kind: JobKind,
    request: JsonValue,
    work: (control: JobControl) => Promise<JsonValue>,
    before?: (control: JobControl) => Promise<void>,
    settling?: Settling,
  ): JobInfo {
    const inTurn = async (control: JobControl): Promise<JsonValue> => {
      await before?.(control);
      const turn = this.#last.then(async () => {
        try {
          const result = await work(control);
          this.#failure = undefined;
          this.#failures = 0;
          return result;
        } catch (error) {
          if (!control.cancelled) {
            this.#failure = `${kind}: ${messageOf(error)}`;
            this.#failures++;
          }
          throw error;
        }
      });
      this.#last = turn.catch(() => undefined);
      return turn;
    };
    return this.jobs.start(kind, request, inTurn, settling);
  }

  async #compact(shards: readonly Shard[], request: CompactRequest, control: JobControl): Promise<JsonValue> {
    const pace = this.#pace(control);
    const trims: TrimReport[] = [];
    const certificates: Certificate[] = [];
    const compactOptions = { ...this.#thresholds, force: request.force === true };
    if (this.#parts.keeping.dropsAnything && shards.some(isLarge)) this.#host.prepare();
    for (const [i, shard] of shards.entries()) {
      if (control.cancelled) break;
      const progress = (share: number) => control.progress((i + share) / shards.length);
      trims.push(await this.#trim(shard, request.collection, pace));
      progress(0.2);
      certificates.push(await shard.upkeep.compact(this.#host, pace, compactOptions, (share) => progress(0.2 + 0.7 * share)));
    }
    return resultJson(trims, certificates);
  }

  #trim(shard: Shard, collection: string | undefined, pace: Pace): Promise<TrimReport> {
    const { keeping, platform } = this.#parts;
    return keeping.inTurn(async () => {
      const now = platform.clock.nowMicros();
      const retentions = new Map([...keeping.retentions].filter(([name]) => collection === undefined || name === collection));
      this.#planned.set(shard, { seq: shard.visibleSeq, time: now });
      if (!keeping.dropsAnything || !shard.replica.takesWrites) return { shard: shard.id, versions: 0, events: [], horizons: new Map() };
      const retentionOf = (name: string) => retentions.get(name) ?? KEEP_ALL;
      return shard.upkeep.trim({ retentionOf, snapshots: keeping.snapshotSeqs(shard), now }, pace);
    });
  }

  #pace(control: JobControl): Pace {
    const pace = new Pace(this.#parts.platform.clock, this.#parts.options.bytesPerSecond);
    control.onCancel(() => pace.cancel());
    control.onPause((isPaused) => (isPaused ? pace.pause() : pace.resume()));
    return pace;
  }

  get #thresholds(): Thresholds {
    const { deadShare = DEFAULT_DEAD_SHARE, deadBytes = Number.POSITIVE_INFINITY } = this.#parts.options;
    return { deadShare, deadBytes };
  }

  #lookLater(): void {
    const { automatic = true, everyMs = EVERY_MS } = this.#parts.options;
    if (!automatic || this.#closing) return;
    this.#cancelLook = this.#parts.platform.clock.after(this.#retryMs(everyMs), () => {
      this.#looking = this.#look()
        // Closing, too many jobs wait, or a tree is bad, which heals by itself.
        .catch(() => undefined)
        .then(() => this.#lookLater());
    });
  }

  /** Starts a compaction where one is worth it and none is under way. */
  async #look(): Promise<void> {
    if (this.#isBusy || !this.#isTime()) return;
    let isDue = this.#parts.shards.some((shard) => this.#isDue(shard));
    for (const shard of this.#parts.shards) {
      if (this.#closing) return;
      isDue ||= shard.stopped === undefined && shard.tells && (await shard.upkeep.tree.isWorthCompacting(this.#thresholds));
    }
    // What comes of it says when to look again.
    if (isDue && !this.#isBusy) await this.jobs.ended(this.compact().id);
  }

  get #isBusy(): boolean {
    return this.jobs.all.some(({ state }) => state === 'queued' || state === 'running');
  }

  #isDue(shard: Shard): boolean {
    if (shard.stopped !== undefined || !shard.tells) return false;
    if (shard.upkeep.isWorthCompacting(this.#thresholds)) return true;
    if (!this.#parts.keeping.dropsAnything || !shard.replica.takesWrites) return false;
    const planned = this.#planned.get(shard);
    const entries = shard.tree?.root.entries ?? 0;
    if (planned === undefined) return entries > 0;
    if (shard.visibleSeq === planned.seq) return this.#parts.platform.clock.nowMicros() - planned.time > PLAN_EVERY_MICROS;
    return shard.visibleSeq - planned.seq > entries / PLAN_SHARE;
  }

  #isTime(): boolean {
    const { hours } = this.#parts.options;
    if (hours === undefined) return true;
    const hour = Math.floor(this.#parts.platform.clock.nowMicros() / 3_600_000_000) % 24;
    const [from, to] = hours;
    return from <= to ? hour >= from && hour < to : hour >= from || hour < to;
  }
}

function isLarge(shard: Shard): boolean {
  return !shard.damaged && shard.log.segmentSet.all.reduce((sum, { fileBytes }) => sum + fileBytes, 0) >= WORTH_PREPARING_BYTES;
}

function after(first: () => void, then: () => void): () => void {
  return () => {
    first();
    then();
  };
}

/** Compaction's result as people and machines read it. */
function resultJson(trims: readonly TrimReport[], certificates: readonly Certificate[]): JsonValue {
  const groups = certificates.flatMap((certificate) => certificate.groups);
  const trees = certificates.flatMap(({ tree }) => tree ?? []);
  const bytes = (of: (part: { bytesBefore: number; bytesAfter: number }) => number): number =>
    [...groups, ...trees].reduce((total, part) => total + of(part), 0);
  const sum = (of: (group: (typeof groups)[number]) => number): number => groups.reduce((total, group) => total + of(group), 0);
  return {
    versionsDropped: trims.reduce((total, { versions }) => total + versions, 0),
    segmentsRewritten: sum(({ segments }) => segments.length),
    recordsBefore: sum(({ recordsBefore }) => recordsBefore),
    recordsAfter: sum(({ recordsAfter }) => recordsAfter),
    recordsDropped: sum(({ recordsBefore, recordsAfter }) => recordsBefore - recordsAfter),
    bytesBefore: bytes(({ bytesBefore }) => bytesBefore),
    bytesAfter: bytes(({ bytesAfter }) => bytesAfter),
    treesCopied: trees.length,
    horizons: trims.flatMap(({ shard, horizons }) =>
      [...horizons].map(([collection, { seq }]) => ({ shard, collection, horizon: recordId(shard, seq) })),
    ),
    certificates: certificates.map(certificateJson),
  };
}

function certificateJson({ shard, rootBefore, rootAfter, trimmedThrough, groups, tree, reason }: Certificate): Record<string, JsonValue> {
  return {
    shard,
    reason,
    rootBefore: { ...rootBefore },
    rootAfter: { ...rootAfter },
    trimmedThrough: trimmedThrough === 0 ? null : recordId(shard, trimmedThrough),
    segments: groups.map(({ segments, ...rest }) => ({ ...rest, segments: [...segments] })),
    tree: tree === undefined ? null : { ...tree },
  };
}
