import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Database, VersionRecord } from '../../engine/index.js';
import { parseDumpLine } from '../../tools/dump-format.js';
import { IdMap } from '../../tools/id-map.js';
import { type TestServer, temporaryDirectory, testServer, varve } from './cli.js';

const open: TestServer[] = [];
const start = async (options = {}) => {
  const server = await testServer(options);
  open.push(server);
  return server;
};
afterEach(async () => {
  for (const server of open.splice(0)) await server.remove();
});

/** Deletions, refs within and between batches, batches over two collections. */
async function fill(db: Database): Promise<void> {
  await db.setPlacement('left', 'group:both');
  await db.setPlacement('right', 'group:both');
  let last: string | undefined;
  for (let i = 0; i < 60; i++) {
    const refs = last === undefined ? ['#0'] : ['#0', last];
    const { records } = await db.insert([
      { collection: 'left', key: `l${i % 7}`, body: { i, text: 'é🦆', [i % 2 === 0 ? '\\' : '"']: i } },
      { collection: 'right', key: `r${i % 5}`, body: i, refs },
    ]);
    last = records[1]?.id;
    await db.put('single', `s${i % 11}`, { i }, {});
    if (i % 9 === 8) await db.delete('single', `s${i % 11}`);
  }
}

/** Every entity's history without its ids; refs as what they name. */
function histories(db: Database): Record<string, unknown> {
  const view = db.now();
  const said: Record<string, unknown> = {};
  const short = (record: VersionRecord) => ({
    time: record.time,
    deleted: record.deleted,
    body: record.body,
    refs: record.refs.map((ref) => {
      const target = db.record(ref);
      return `${target?.collection}/${target?.key}@${target?.time}`;
    }),
  });
  const keys = { left: 7, right: 5, single: 11 };
  for (const [collection, count] of Object.entries(keys)) {
    for (let i = 0; i < count; i++) {
      const key = `${collection[0]}${i}`;
      said[`${collection}/${key}`] = view.history(collection, key, { order: 'asc', limit: 1000 }).records.map(short);
    }
  }
  return said;
}

describe('dump and load', () => {
  it('give another database the same histories, times and refs, whatever its shards', async () => {
    const from = await start();
    await fill(from.db);
    const { code, out, err } = await from.varve(['dump']);
    expect([code, err]).toEqual([0, 'dumped 186 records in 126 batches\n']);
    for (const shards of [1, 3]) {
      const to = await start({ shards });
      const loaded = await to.varve(['load', '-'], { input: out });
      expect(loaded).toEqual({ code: 0, err: '', out: 'inserted 186 records from 128 lines\n' });
      expect(histories(to.db)).toEqual(histories(from.db));
      if (shards === 1) expect((await to.varve(['dump'])).out.replaceAll(/"ids?":[^t]*/g, '')).toBe(out.replaceAll(/"ids?":[^t]*/g, ''));
    }
  });

  it('read a closed directory too, up to a point, and collections by name', async () => {
    const from = await start({ shards: 2 });
    await fill(from.db);
    const online = await from.varve(['dump']);
    const middle = from.db.now().history('right', 'r3').records[5] as VersionRecord;
    const until = await from.varve(['dump', '--as-of', middle.time]);
    const some = await from.varve(['dump', '--collection', 'right']);
    await from.close();
    expect((await varve(['dump', '--data', from.data])).out).toBe(online.out);
    expect(online.out.startsWith(until.out.split('\n').slice(0, -1).join('\n'))).toBe(true);
    expect(until.out.trim().split('\n').at(-1)).toContain(middle.time);
    expect(some.out.trim().split('\n')).toHaveLength(61);
    expect(some.err).toContain('dropped 60 refs');
    expect((await varve(['dump', '--data', path.dirname(from.data)])).code).toBe(2);
    expect((await varve(['dump', '--data', from.data, '--collection', 'nope'])).code).toBe(1);
  });

  it('read what is left where versions were trimmed and bodies erased', async () => {
    const from = await start({ shards: 2, upkeep: { automatic: false } });
    const { db } = from;
    const ann = await db.put('people', 'ann', 'secret');
    for (let n = 0; n < 9; n++) await db.put('trimmed', `k${n % 3}`, n);
    const key = Array.from({ length: 64 }, (_, n) => `k${n}`).find((name) => db.shardOf('people', name) === ann.shard)!;
    await db.put('people', key, 1, { refs: [ann.id] });
    await db.setRetention('trimmed', { keep: 'last', versions: 1 });
    for (const job of [db.compact({ force: true }), await db.erase({ collection: 'people', key: 'ann', reason: 'asked to' })])
      expect(await db.jobEnded(job.id)).toMatchObject({ state: 'done' });
    const online = await from.varve(['dump']);
    expect(online.err).toContain('older versions had been trimmed: this is what is left');
    expect(online.err).toContain('left out 1 record whose bodies had been erased');
    expect(online.err).toContain('dropped 1 ref to records');
    expect(online.out).not.toContain('secret');
    const some = await from.varve(['dump', '--collection', 'people']);
    expect(some.err).not.toContain('trimmed');
    await from.close();
    expect((await varve(['dump', '--data', from.data])).out).toBe(online.out);
    const to = await start();
    expect(await to.varve(['load', '-'], { input: online.out })).toMatchObject({ code: 0, out: 'inserted 4 records from 4 lines\n' });
    expect([0, 1, 2].map((n) => to.db.now().get('trimmed', `k${n}`)?.body)).toEqual([6, 7, 8]);
  });

  it('report each failed line by its number, and load the rest', async () => {
    const to = await start();
    const input = [
      '{"collection":"c","key":"a","body":1}',
      '',
      '{"collection":"c","key":"b","body":1,"body":2}',
      'not json',
      '{"collection":"c","key":"d","body":4,"nope":1}',
      '{"collection":"c","key":"e","body":5}',
    ].join('\n');
    const ran = await to.varve(['load', '-'], { input });
    expect(ran.code).toBe(1);
    expect(ran.out).toBe('inserted 2 records from 6 lines\n');
    expect(ran.err.split('\n').map((line) => line.split(':')[0])).toEqual(['line 3', 'line 4', 'line 5', 'varve', '']);
    const machine = await to.varve(['load', '-', '--json'], { input });
    expect(
      machine.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toMatchObject([{ line: 3 }, { line: 4 }, { line: 5 }, { lines: 6, inserted: 2, failed: 3 }]);
  });

  it('take from a file, and fail what refers to a line that failed', async () => {
    const to = await start();
    const directory = temporaryDirectory();
    const file = path.join(directory.path, 'lines.ndjson');
    const id = (n: number) => n.toString(16).padStart(16, '1');
    writeFileSync(
      file,
      [
        `{"id":"${id(1)}","collection":"c","key":"","body":1}`,
        `{"id":"${id(2)}","refs":["${id(1)}"],"collection":"c","key":"b","body":1}`,
        `{"id":"${id(3)}","collection":"c","key":"c","body":1}`,
        `{"id":"${id(4)}","refs":["${id(3)}"],"collection":"c","key":"d","body":1}`,
      ].join('\r\n'),
    );
    const ran = await to.varve(['load', file]);
    expect(ran.err).toContain('line 2: refers to a record that was not loaded');
    expect(ran.out).toBe('inserted 2 records from 4 lines\n');
    expect(to.db.now().get('c', 'd')?.refs).toEqual([to.db.now().get('c', 'c')?.id]);
    directory.remove();
  });
});

describe('the format of a dump', () => {
  it('passes on bytes it does not know as they are', () => {
    for (const text of [
      '{"key":"\\u00e9","collection":"c","body":{"id":"0001000000000001"}}',
      'x"collection":"c","key":"k","body":1}',
      '',
    ]) {
      const line = Buffer.from(text);
      expect(parseDumpLine(line)).toEqual({ kind: 'plain', line });
    }
  });

  it('maps ids in runs, in any order', () => {
    const map = new IdMap();
    const id = (shard: number, seq: number) => shard.toString(16).padStart(4, '0') + seq.toString(16).padStart(12, '0');
    const pairs = [5, 6, 7, 20, 21, 3, 4, 2 ** 40, 30].map((seq, i) => [id(1, seq), id(2, seq < 10 ? seq + 100 : i + 1000)] as const);
    for (const [from, to] of pairs) map.set(from, to);
    for (const [from, to] of pairs) expect(map.get(from)).toBe(to);
    for (const missing of [1, 2, 8, 19, 22, 31]) expect(map.get(id(1, missing))).toBeUndefined();
    expect(map.get(id(2, 5))).toBeUndefined();
  });
});
