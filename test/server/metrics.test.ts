/** /metrics: the right numbers, bounded labels, and nothing that a client can make longer. */
import { afterEach, describe, expect, it } from 'vitest';
import { BUCKETS } from '../../server/figures.js';
import { Access } from '../../server/index.js';
import { token } from './doors-support.js';
import { TestServer } from './support.js';

let servers: TestServer[] = [];
afterEach(async () => {
  for (const server of servers) await server.stop();
  servers = [];
});
async function start(options: Parameters<typeof TestServer.start>[0] = {}): Promise<TestServer> {
  const server = await TestServer.start(options);
  servers.push(server);
  return server;
}

/** `name{label="value"}` -> value, as Prometheus reads the text. */
async function scrape(s: TestServer): Promise<Map<string, number>> {
  const { text, status, headers } = await s.get('/metrics');
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  const samples = new Map<string, number>();
  const typed = new Set<string>();
  for (const line of text.split('\n')) {
    if (line.startsWith('# TYPE ')) typed.add(line.split(' ')[2]!);
    if (line === '' || line.startsWith('#')) continue;
    const match = /^([a-z0-9_]+)((?:\{.*\})?) (\S+)$/.exec(line);
    expect(match, line).not.toBeNull();
    const [, name = '', labels = '', value = ''] = match!;
    expect(typed.has(name) || typed.has(name.replace(/_(?:bucket|sum|count)$/, '')), `${name} has a type`).toBe(true);
    expect(samples.has(name + labels), `${name}${labels} is there once`).toBe(false);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

const ENTITY = '/v1/collections/:collection/entities/:key';

describe('metrics', () => {
  it('count requests by route, method and class of status, however they were handled', async () => {
    const s = await start();
    await s.put('a', 1);
    await s.put('b', 2);
    await s.get('/v1/collections/c/entities/a');
    await s.get('/v1/collections/c/entities/nobody');
    await s.get('/v1/collections/c/entities/a', { 'If-None-Match': '*' });
    await s.ask('HEAD', '/v1/collections/c/entities/a');
    await s.get('/nowhere/at/all');
    await s.ask('PURGE', '/livez');
    const samples = await scrape(s);
    const requests = (route: string, method: string, status: string) =>
      samples.get(`varve_http_requests_total{route="${route}",method="${method}",status="${status}"}`);
    expect(requests(ENTITY, 'PUT', '2xx')).toBe(2);
    expect(requests(ENTITY, 'GET', '2xx')).toBe(1);
    expect(requests(ENTITY, 'GET', '3xx')).toBe(1);
    expect(requests(ENTITY, 'GET', '4xx')).toBe(1);
    expect(requests(ENTITY, 'HEAD', '2xx')).toBe(1);
    expect(requests('unmatched', 'GET', '4xx')).toBe(1);
    expect(requests('/livez', 'other', '4xx')).toBe(1);
    const labels = `route="${ENTITY}",method="PUT"`;
    expect(samples.get(`varve_http_request_duration_seconds_count{${labels}}`)).toBe(2);
    expect(samples.get(`varve_http_request_duration_seconds_bucket{${labels},le="+Inf"}`)).toBe(2);
    const cumulative = BUCKETS.map((le) => samples.get(`varve_http_request_duration_seconds_bucket{${labels},le="${le}"}`)!);
    expect(cumulative).toEqual([...cumulative].sort((a, b) => a - b));
    expect(samples.get(`varve_http_request_duration_seconds_sum{${labels}}`)).toBeGreaterThan(0);
  });

  it('keep their labels however many names clients think up', async () => {
    const s = await start();
    const routesOf = (samples: Map<string, number>) => [...samples.keys()].filter((name) => name.startsWith('varve_http_requests_total'));
    await s.get('/v1/collections/c0/entities/k0');
    await s.get('/x0');
    await s.get('/metrics');
    const before = routesOf(await scrape(s));
    for (let n = 1; n < 40; n++) {
      await s.get(`/v1/collections/c${n}/entities/k${n}`);
      await s.get(`/x${n}`);
    }
    expect(routesOf(await scrape(s))).toEqual(before);
  });

  it('tell of each shard what it holds and how long its disk takes', async () => {
    const s = await start({ open: { shards: 2 } });
    for (let n = 0; n < 20; n++) await s.put(`key ${n}`, { n });
    const samples = await scrape(s);
    const all = [1, 2].map((shard) => (name: string) => samples.get(`varve_shard_${name}{shard="${shard}"}`)!);
    const sum = (name: string) => all.reduce((total, of) => total + of(name), 0);
    expect(sum('memtable_records')).toBe(20);
    expect(sum('group_batches_total')).toBe(20);
    expect(sum('groups_total')).toBeLessThanOrEqual(20);
    expect(sum('commit_duration_seconds_count')).toBe(sum('groups_total'));
    expect(sum('memtable_bytes')).toBeGreaterThan(0);
    for (const of of all) {
      expect(of('durable_seq')).toBe(of('last_seq'));
      expect(of('checkpoint_lag_seqs')).toBe(of('durable_seq'));
      expect(of('segments')).toBe(1);
      expect(of('folds_total')).toBe(0);
    }
    expect(samples.get('varve_shards{state="open"}')).toBe(2);
    await s.db.checkpoint();
    const after = await scrape(s);
    for (const shard of [1, 2]) {
      expect(after.get(`varve_shard_folds_total{shard="${shard}"}`)).toBe(1);
      expect(after.get(`varve_shard_memtable_records{shard="${shard}"}`)).toBe(0);
    }
  });

  it('count failed commits, and show the shard as read-only', async () => {
    const s = await start();
    await s.put('a', 1);
    s.platform.failOn('sync', { kind: 'failed-sync' });
    expect((await s.put('a', 2)).status).toBe(503);
    const samples = await scrape(s);
    expect(samples.get('varve_shard_commit_failures_total{shard="1"}')).toBe(1);
    expect(samples.get('varve_shards{state="read-only"}')).toBe(1);
  });

  it('add shards up beyond 64 of them', async () => {
    const s = await start({ open: { shards: 65 } });
    await s.put('a', 1);
    const samples = await scrape(s);
    expect(samples.get('varve_shard_memtable_records{shard="all"}')).toBe(1);
    expect([...samples.keys()].filter((name) => name.startsWith('varve_shard_last_seq'))).toEqual(['varve_shard_last_seq{shard="all"}']);
    expect(samples.get('varve_shard_commit_duration_seconds_count{shard="all"}')).toBe(1);
  });

  it('count the lines of streams, and leave streams out of durations', async () => {
    const s = await start();
    await s.lines('{"collection":"c","key":"a","body":1}\n{"collection":"c"}\n{"collection":"c","key":"b","body":1}\n');
    await s.get('/v1/collections/c/entities', { Accept: 'application/x-ndjson' });
    const samples = await scrape(s);
    expect(samples.get('varve_ndjson_lines_total{what="inserted"}')).toBe(2);
    expect(samples.get('varve_ndjson_lines_total{what="failed"}')).toBe(1);
    expect(samples.get('varve_ndjson_lines_total{what="sent"}')).toBe(2);
    expect([...samples.keys()].filter((name) => /duration_seconds_count\{route="\/v1\/(?:records|collections)/.test(name))).toEqual([]);
  });

  it('tell of caches, connections and the process', async () => {
    const s = await start();
    await s.put('a', 1);
    await s.get('/v1/collections/c/entities/a');
    const samples = await scrape(s);
    expect(samples.get('varve_http_connections')).toBe(1);
    expect(samples.get('varve_http_requests_active')).toBe(1);
    expect(samples.get('varve_ready{phase="ready"}')).toBe(1);
    for (const cache of ['blocks', 'nodes']) expect(samples.has(`varve_cache_misses_total{cache="${cache}"}`)).toBe(true);
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e6);
  });

  it('are for those who may read everything', async () => {
    const [all, some] = [token('read'), token('read', 'c')];
    const s = await start({ server: { access: new Access([all.record, some.record]) } });
    expect((await s.get('/metrics')).status).toBe(401);
    expect((await s.get('/metrics', some.headers)).status).toBe(403);
    expect((await s.get('/metrics', all.headers)).status).toBe(200);
  });
});
