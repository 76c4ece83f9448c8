/**
 * /metrics: what the server and the engine have counted, as families of samples made when somebody asks, in Prometheus's text format
 * (prom-client writes it, and adds what it knows of the process).
 *
 * Invariants: labels are bounded: templates of routes, short lists, and shards up to 64 of them (more are added up under `all`). Nothing
 * here is work for a request that is not the scrape itself.
 */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import type { Database, DatabaseStats, ShardStats } from '../engine/index.js';
import type { VerifierFigures } from '../replication/index.js';
import type { Copies, ShardCopies } from './copies.js';
import { BUCKETS, CLASSES, METHODS, type RequestFigures } from './figures.js';
import type { ForwardFigures } from './forward.js';
import type { Figures } from './start.js';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/** More shards than this are added up. */
const MOST_SHARDS = 64;
/** More peers than this are left out. */
const MOST_PEERS = 32;

export interface Scraped {
  readonly phase: string;
  readonly db: Database | undefined;
  readonly copies: Copies | undefined;
  readonly forwards: ForwardFigures | undefined;
  readonly verifier: VerifierFigures | undefined;
  readonly doors: Figures;
  readonly bodyBytes: number;
}

type Labels = Readonly<Record<string, string | number>>;
interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Where it is not the family's own name. */
  readonly metricName?: string;
}
type Kind = 'counter' | 'gauge' | 'histogram';

/** One for all servers of the process. */
let ofProcess: Registry | undefined;

export class Metrics {
  readonly #figures: RequestFigures;
  readonly #scrape: () => Scraped;
  readonly #registry = new Registry();
  #scraped: Scraped;
  #stats: DatabaseStats | undefined;

  constructor(figures: RequestFigures, scrape: () => Scraped) {
    this.#figures = figures;
    this.#scrape = scrape;
    this.#scraped = {
      phase: 'recovering',
      db: undefined,
      copies: undefined,
      forwards: undefined,
      verifier: undefined,
      doors: NO_FIGURES,
      bodyBytes: 0,
    };
    this.#serverFamilies();
    this.#shardFamilies();
    this.#cacheFamilies();
    this.#upkeepFamilies();
    this.#copyFamilies();
    this.#verificationFamilies();
  }

  async text(): Promise<string> {
    if (ofProcess === undefined) {
      ofProcess = new Registry();
      collectDefaultMetrics({ register: ofProcess });
    }
    this.#scraped = this.#scrape();
    this.#stats = this.#scraped.phase === 'recovering' ? undefined : this.#scraped.db?.stats();
    return `${await this.#registry.metrics()}\n${await ofProcess.metrics()}`;
  }

  #family(name: string, type: Kind, help: string, samples: () => Sample[]): void {
    const family = { name, help, type, get: async () => ({ name, help, type, aggregator: 'sum', values: samples() }) };
    // The registry asks a metric for nothing but this; its type names the classes it ships.
    this.#registry.registerMetric(family as unknown as Metric);
  }

  #one(name: string, type: Kind, help: string, value: () => number): void {
    this.#family(name, type, help, () => [{ labels: {}, value: value() }]);
  }

  #serverFamilies(): void {
    const figures = this.#figures;
    this.#family('varve_ready', 'gauge', '1 for the phase that the server is in', () =>
      ['recovering', 'ready', 'draining'].map((phase) => ({ labels: { phase }, value: Number(phase === this.#scraped.phase) })),
    );
    this.#family(
      'varve_http_requests_total',
      'counter',
      'Requests that are over. unmatched: no such path, or refused at the door; cut: the connection went first',
      () => requestSamples(figures),
    );
    this.#family(
      'varve_http_request_duration_seconds',
      'histogram',
      'From its headers to the end of its answer; streams and feeds are left out',
      () => durationSamples(figures, 'varve_http_request_duration_seconds'),
    );
    this.#one('varve_http_requests_active', 'gauge', 'Requests being handled', () => this.#scraped.doors.active);
    this.#one('varve_http_requests_waiting', 'gauge', 'Requests waiting for their turn', () => this.#scraped.doors.waiting);
    this.#one('varve_http_streams', 'gauge', 'Feeds and streams of inserts that are open', () => this.#scraped.doors.streams);
    this.#one('varve_http_feeds', 'gauge', 'Feeds that are open', () => figures.feeds);
    this.#one('varve_http_connections', 'gauge', 'Open connections', () => this.#scraped.doors.connections);
    this.#one('varve_http_clients', 'gauge', 'Tokens, or addresses without one, that are connected', () => this.#scraped.doors.clients);
    this.#one(
      'varve_http_unread_bytes',
      'gauge',
      'Bytes of answers that their readers have not taken',
      () => this.#scraped.doors.unreadBytes,
    );
    this.#one('varve_http_body_bytes', 'gauge', 'Memory held by request bodies', () => this.#scraped.bodyBytes);
    this.#family('varve_ndjson_lines_total', 'counter', 'Lines of streams: inserts made and refused, entities and changes sent', () =>
      Object.entries(figures.lines).map(([what, value]) => ({ labels: { what }, value })),
    );
  }

  #shardFamilies(): void {
    const each = (name: string, type: Kind, help: string, value: (stats: ShardStats) => number) =>
      this.#family(`varve_shard_${name}`, type, help, () => this.#perShard(value));
    this.#family('varve_shards', 'gauge', 'Shards by state', () =>
      (['open', 'read-only', 'damaged'] as const).map((state) => ({
        labels: { state },
        value: this.#stats?.shards.filter((shard) => shard.state === state).length ?? 0,
      })),
    );
    each('last_seq', 'gauge', 'Seq of the newest record or event', ({ lastSeq }) => lastSeq);
    each('durable_seq', 'gauge', 'Highest seq known to be synced', ({ durableSeq }) => durableSeq);
    each('checkpoint_lag_seqs', 'gauge', 'Seqs since the last checkpoint', ({ durableSeq, checkpointSeq }) => durableSeq - checkpointSeq);
    each('memtable_bytes', 'gauge', 'Memory of records newer than the tree', ({ memtableBytes }) => memtableBytes);
    each('memtable_records', 'gauge', 'Records newer than the tree', ({ memtableRecords }) => memtableRecords);
    each('live_bytes', 'gauge', 'Bytes of log that compaction would keep', ({ liveBytes }) => liveBytes);
    each('dead_bytes', 'gauge', 'Bytes of log that compaction would give back', ({ deadBytes }) => deadBytes);
    each('segments', 'gauge', 'Files of the log', ({ segments }) => segments);
    each('folds_total', 'counter', 'Memtables folded into the tree', ({ folds }) => folds.count);
    each('fold_failures_total', 'counter', 'Folds that failed; nothing is lost by one', ({ foldFailures }) => foldFailures);
    each('fold_seconds_total', 'counter', 'Time spent folding', ({ folds }) => folds.ms / 1000);
    each('groups_total', 'counter', 'Groups made durable, each with one sync', ({ groups }) => groups.count);
    each('group_batches_total', 'counter', 'Batches in them', ({ groupBatches }) => groupBatches);
    each('commit_failures_total', 'counter', 'Groups whose write or sync failed', ({ commitFailures }) => commitFailures);
    this.#family('varve_shard_commit_duration_seconds', 'histogram', 'Write and sync of a group', () => {
      const name = 'varve_shard_commit_duration_seconds';
      return this.#shardGroups().flatMap(({ shard, all }) => {
        const { boundsMs, buckets, ms, count } = sumDurations(all);
        return histogram(
          name,
          { shard },
          boundsMs.map((bound) => bound / 1000),
          buckets,
          ms / 1000,
          count,
        );
      });
    });
  }

  #cacheFamilies(): void {
    const caches = (value: (cache: DatabaseStats['caches'][number]) => number | undefined) => () =>
      (this.#stats?.caches ?? []).flatMap((cache) => {
        const counted = value(cache);
        return counted === undefined ? [] : [{ labels: { cache: cache.name }, value: counted }];
      });
    this.#family(
      'varve_cache_bytes',
      'gauge',
      'Memory of a cache',
      caches(({ bytes }) => bytes),
    );
    this.#family(
      'varve_cache_hits_total',
      'counter',
      'Reads that a cache answered',
      caches(({ hits }) => hits),
    );
    this.#family(
      'varve_cache_misses_total',
      'counter',
      'Reads that it did not',
      caches(({ misses }) => misses),
    );
  }

  #upkeepFamilies(): void {
    const database = () => (this.#stats === undefined ? undefined : this.#scraped.db);
    this.#family('varve_jobs', 'gauge', 'Compactions and erasures that run, and that wait', () => {
      const jobs = database()?.jobs() ?? [];
      return ['running', 'queued'].map((state) => ({ labels: { state }, value: jobs.filter((job) => job.state === state).length }));
    });
    this.#one('varve_upkeep_failing', 'gauge', '1 from the failure of a compaction or erasure until one succeeds', () =>
      Number(database()?.upkeepFailure !== undefined),
    );
  }

  #verificationFamilies(): void {
    const figures = () => this.#scraped.verifier;
    this.#one(
      'varve_verification_findings',
      'gauge',
      'Damage and trouble that the newest verification of each shard has told',
      () => figures()?.open ?? 0,
    );
    this.#one('varve_scrubs_total', 'counter', 'Verifications that read every byte back', () => figures()?.scrubs ?? 0);
    this.#one('varve_repaired_total', 'counter', 'Damaged places and differing records that were mended', () => figures()?.repaired ?? 0);
    this.#one('varve_last_scrub_timestamp_seconds', 'gauge', 'When every byte was last read back; 0: not since the start', () =>
      Math.floor((figures()?.lastScrubMs ?? 0) / 1000),
    );
  }

  #copyFamilies(): void {
    const figures = () => this.#scraped.copies?.figures;
    this.#family('varve_shard_roles', 'gauge', 'Shards by what this server is to them', () => {
      const { copies } = this.#scraped;
      const roles = (this.#stats?.shards ?? []).map(({ shard }) => copies?.status(shard).role ?? 'owner');
      return ['owner', 'follower', 'fenced'].map((role) => ({ labels: { role }, value: roles.filter((each) => each === role).length }));
    });
    const worst = (value: (status: ShardCopies) => readonly { readonly peer: string; readonly value: number }[]) => () =>
      this.#perPeer(value);
    this.#family(
      'varve_follower_lag_seconds',
      'gauge',
      'Since a follower last had all that this owner has; of its shards the one furthest behind',
      worst(({ followers }) => followers.map(({ url, lagSeconds }) => ({ peer: url, value: lagSeconds }))),
    );
    this.#family(
      'varve_follower_breaker_open',
      'gauge',
      '1 while calls to a follower are not let through',
      worst(({ followers }) => followers.map(({ url, breaker }) => ({ peer: url, value: Number(breaker === 'open') }))),
    );
    this.#one(
      'varve_copy_lag_seconds',
      'gauge',
      'Since this copy last had all that its source has; of its shards the one furthest behind',
      () => Math.max(0, ...this.#statuses().map(({ lagSeconds }) => lagSeconds)),
    );
    this.#family('varve_replication_bytes_total', 'counter', 'Bytes of log streamed to followers, and from sources', () => [
      { labels: { direction: 'out' }, value: figures()?.bytesStreamedOut ?? 0 },
      { labels: { direction: 'in' }, value: figures()?.bytesStreamedIn ?? 0 },
    ]);
    this.#one('varve_replication_connections_total', 'counter', 'Connections made to sources', () => figures()?.reconnects ?? 0);
    this.#one('varve_replication_refused_total', 'counter', 'Messages of sources that were refused', () => figures()?.refused ?? 0);
    this.#family('varve_forwarded_total', 'counter', 'Writes passed on to their owner, by what became of them', () =>
      Object.entries(this.#scraped.forwards ?? {}).map(([outcome, value]) => ({ labels: { outcome }, value: value as number })),
    );
  }

  #statuses(): ShardCopies[] {
    const { copies } = this.#scraped;
    return copies === undefined ? [] : (this.#stats?.shards ?? []).map(({ shard }) => copies.status(shard));
  }

  /** The highest value of each peer over all shards; peers are few, and named by configuration. */
  #perPeer(values: (status: ShardCopies) => readonly { readonly peer: string; readonly value: number }[]): Sample[] {
    const highest = new Map<string, number>();
    for (const { peer, value } of this.#statuses().flatMap(values)) {
      if (highest.size < MOST_PEERS || highest.has(peer)) highest.set(peer, Math.max(value, highest.get(peer) ?? 0));
    }
    return [...highest].map(([peer, value]) => ({ labels: { peer }, value }));
  }

  /** Shards with their label; all under one where there are many. */
  #shardGroups(): { shard: string; all: readonly ShardStats[] }[] {
    const shards = this.#stats?.shards ?? [];
    if (shards.length > MOST_SHARDS) return [{ shard: 'all', all: shards }];
    return shards.map((stats) => ({ shard: String(stats.shard), all: [stats] }));
  }

  #perShard(value: (stats: ShardStats) => number): Sample[] {
    return this.#shardGroups().map(({ shard, all }) => ({ labels: { shard }, value: all.reduce((sum, stats) => sum + value(stats), 0) }));
  }
}

const NO_FIGURES: Figures = { connections: 0, active: 0, waiting: 0, streams: 0, clients: 0, unreadBytes: 0 };

function sumDurations(all: readonly ShardStats[]): ShardStats['groups'] {
  const [first] = all;
  const buckets = first!.groups.buckets.map((_, slot) => all.reduce((sum, { groups }) => sum + groups.buckets[slot]!, 0));
  const sum = (value: (groups: ShardStats['groups']) => number) => all.reduce((total, { groups }) => total + value(groups), 0);
  return { boundsMs: first!.groups.boundsMs, buckets, ms: sum(({ ms }) => ms), count: sum(({ count }) => count) };
}

function requestSamples(figures: RequestFigures): Sample[] {
  const samples: Sample[] = [];
  for (const { path, answers } of figures.routes) {
    answers.forEach((value, index) => {
      if (value === 0) return;
      const method = METHODS[Math.floor(index / CLASSES.length)]!;
      samples.push({ labels: { route: path, method, status: CLASSES[index % CLASSES.length]! }, value });
    });
  }
  return samples;
}

function durationSamples(figures: RequestFigures, name: string): Sample[] {
  const samples: Sample[] = [];
  for (const route of figures.routes) {
    METHODS.forEach((method, index) => {
      const buckets = [...BUCKETS, 0].map((_, slot) => route.bucket(index, slot));
      const count = buckets.reduce((sum, value) => sum + value, 0);
      if (count > 0) samples.push(...histogram(name, { route: route.path, method }, BUCKETS, buckets, route.seconds[index]!, count));
    });
  }
  return samples;
}

/** `buckets` has one more than `bounds`, and is not cumulative. */
function histogram(
  name: string,
  labels: Labels,
  bounds: readonly number[],
  buckets: readonly number[],
  sum: number,
  count: number,
): Sample[] {
  let below = 0;
  const samples: Sample[] = bounds.map((bound, slot) => {
    below += buckets[slot]!;
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: below };
  });
  return [
    ...samples,
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
