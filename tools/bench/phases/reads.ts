/** Point reads, histories and listings, one client. First the answers are compared with the data set's own, then time is taken. */
import { isDeepStrictEqual } from 'node:util';
import type { KeyedVersion, Store } from '../adapter.js';
import { BASE, picker } from '../data/index.js';
import type { Figures, Measured } from '../job.js';
import { type Limits, peakRssMB, timed } from '../measure.js';
import { anySeq, type Context, expect } from './context.js';

const CHECKED = 200;
const CHECKED_SCANS = 2;
const SCAN = 1000;
const IN_FLIGHT = 32;

export async function reads(context: Context): Promise<Measured> {
  const { set, adapter, job } = context;
  const base = peakRssMB();
  const store = await context.open();
  await checkAnswers(context, store);

  const pick = picker(job.data.seed + 23);
  const key = () => set.keyOf(pick(set.entities));
  const count = scanLength(set.entities);
  const from = () => set.keyOf(pick(set.entities - count));
  const measured: Record<string, Figures> = {};
  const measure = async (name: string, operation: () => unknown, maxOps: number, more: Partial<Limits> = {}) => {
    measured[name] = { ...(await timed(operation, { maxOps, maxMs: job.capMs, ...more })) };
  };

  await measure('newest', () => store.newest(key()), 200_000);
  if (!adapter.meta.sync) await measure('newestInFlight', () => store.newest(key()), 200_000, { clients: IN_FLIGHT });
  if (store.asOf !== undefined) {
    await measure('asOf', () => store.asOf?.(key(), anySeq(set, pick)), 200_000);
    if (!adapter.meta.sync) await measure('asOfInFlight', () => store.asOf?.(key(), anySeq(set, pick)), 200_000, { clients: IN_FLIGHT });
  }
  await measure('history', () => store.history(key()), 50_000);
  if (store.historyBytes !== undefined) await measure('historyBytes', () => store.historyBytes?.(key()), 50_000);
  await measure('scan', () => store.scan(from(), count), 200);
  if (store.asOf !== undefined) await measure('scanAsOf', () => store.scan(from(), count, anySeq(set, pick)), 200);
  const peak = peakRssMB();
  if (base !== undefined && peak !== undefined) measured['memory'] = { readsBaseMB: base, readsPeakMB: peak };
  await store.close();
  return measured;
}

function scanLength(entities: number): number {
  return Math.max(1, Math.min(SCAN, Math.floor(entities / 4)));
}

async function checkAnswers({ set, job }: Context, store: Store): Promise<void> {
  const pick = picker(job.data.seed + 17);
  for (let i = 0; i < CHECKED; i++) {
    const entity = pick(set.entities);
    const key = set.keyOf(entity);
    const newest = await store.newest(key);
    expect(newest?.seq === set.newest(entity) && isDeepStrictEqual(newest.body, bodyOf(newest.seq)), `newest of ${key}`);
    if (store.asOf !== undefined) {
      const seq = anySeq(set, pick);
      const then = await store.asOf(key, seq);
      expect((then?.seq ?? 0) === set.asOf(entity, seq), `${key} as of ${seq}`);
      expect(then == null || isDeepStrictEqual(then.body, bodyOf(then.seq)), `the body of ${key} as of ${seq}`);
    }
    const seqs = set.seqsOf(entity);
    const history = await store.history(key);
    expect(
      isDeepStrictEqual(
        seqs,
        Array.from(history, ({ seq }) => seq),
      ),
      `history of ${key}`,
    );
    const bytes = await store.historyBytes?.(key);
    if (bytes === undefined) continue;
    expect(
      isDeepStrictEqual(
        seqs,
        Array.from(bytes, ({ seq }) => seq),
      ),
      `history of ${key} in bytes`,
    );
    const first = bytes[0]!;
    expect(isDeepStrictEqual(JSON.parse(Buffer.from(first.bytes).toString()), bodyOf(first.seq)), `first body of ${key} in bytes`);
  }
  const count = scanLength(set.entities);
  for (let i = 0; i < CHECKED_SCANS; i++) {
    const from = pick(Math.max(1, set.entities >> 1));
    const wantNewest = Array.from({ length: count }, (_, n) => ({ key: set.keyOf(from + n), seq: set.newest(from + n) }));
    expect(isDeepStrictEqual(named(await store.scan(set.keyOf(from), count)), wantNewest), `scan from ${set.keyOf(from)}`);
    if (store.asOf === undefined) continue;
    const seq = anySeq(set, pick);
    const want: { key: string; seq: number }[] = [];
    for (let entity = from; entity < set.entities && want.length < count; entity++) {
      const visible = set.asOf(entity, seq);
      if (visible > 0) want.push({ key: set.keyOf(entity), seq: visible });
    }
    expect(isDeepStrictEqual(named(await store.scan(set.keyOf(from), count, seq)), want), `scan from ${set.keyOf(from)} as of ${seq}`);
  }

  function bodyOf(seq: number) {
    return set.bodyAt(seq - BASE - 1);
  }
}

function named(versions: readonly KeyedVersion[]): { key: string; seq: number }[] {
  return versions.map(({ key, seq }) => ({ key, seq }));
}
