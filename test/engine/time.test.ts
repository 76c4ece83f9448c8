/** Law 5 at the face of the database: time moves forward, and the same question gets the same answer. */
import { describe, expect, it } from 'vitest';
import { formatTime } from '../../engine/format/time.js';
import { openWith } from '../../engine/index.js';
import { recordId } from '../../engine/types.js';
import { afterKill, codeOf, failure, machine, reopen, SECOND, timeOf } from './support.js';

describe('the time of a batch', () => {
  it('is later than the one before, by a microsecond at least, whatever the clock does', async () => {
    const { db, platform } = await machine();
    const times: string[] = [];
    for (const jump of [0, 0, 5 * SECOND, -3600 * SECOND, 0, -86_400 * SECOND, 10, 7200 * SECOND]) {
      platform.clock.jump(jump);
      times.push((await db.put('c', 'k', jump)).time);
    }
    expect([...times].sort()).toEqual(times);
    expect(new Set(times).size).toBe(times.length);
    const racing = await Promise.all(Array.from({ length: 20 }, (_, i) => db.put('c', `k${i}`, i)));
    expect(new Set(racing.map(({ time }) => time)).size).toBe(20);
  });

  it('goes on from the newest after a restart with a clock that is behind', async () => {
    let current = await machine();
    const before = await current.db.put('c', 'k', 1);
    for (const again of [reopen, afterKill]) {
      current.platform.clock.jump(-3600 * SECOND);
      current = await again(current);
      expect((await current.db.put('c', 'k', 2)).time > before.time).toBe(true);
    }
  });

  it('is later than every time that was asked about, also where the clock stands still or jumps back', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'k', 1);
    await platform.advanceAndSettle(SECOND);
    for (const jump of [0, 0, -100 * SECOND]) {
      const asked = timeOf(platform);
      const view = await db.asOf(asked);
      const body = view.get('c', 'k')?.body;
      platform.clock.jump(jump);
      const { time } = await db.put('c', 'k', `after ${asked}`);
      expect(time > formatTime(Date.parse(asked) * 1000)).toBe(true);
      if (jump === 0) expect((await db.asOf(asked)).get('c', 'k')?.body).toBe(body);
      expect(view.get('c', 'k')?.body).toBe(body);
      await platform.advanceAndSettle(SECOND);
    }
  });

  it('is later than what was asked about before a restart, though the clock went back meanwhile', async () => {
    let current = await machine({ shards: 2 });
    await current.db.put('c', 'k', 1);
    await current.platform.advanceAndSettle(SECOND);
    const asked = timeOf(current.platform);
    const { positions } = await current.db.asOf(asked);
    // Twice: what nobody has written past is kept through restarts in which nobody asks.
    for (let i = 0; i < 2; i++) {
      current = await reopen(current);
      current.platform.clock.jump(-SECOND / 2);
    }
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
    for (const key of keys) expect((await current.db.put('c', key, 2)).time > formatTime(Date.parse(asked) * 1000)).toBe(true);
    expect(new Set(keys.map((key) => current.db.shardOf('c', key))).size).toBe(2);
    expect((await current.db.asOf(asked)).positions).toEqual(positions);
  });

  it('is not guessed where what was answered for is damaged', async () => {
    const { db, platform } = await machine();
    await platform.advanceAndSettle(SECOND);
    await db.asOf(timeOf(platform));
    await db.close();
    const file = 'shards/0001/spoken.json';
    const sound = platform.contents(file);
    for (const bytes of [
      sound.subarray(1),
      Buffer.from(sound.toString().replace(/\d/, (digit) => `${9 - Number(digit)}`)),
      Buffer.from('{}'),
    ]) {
      platform.store(file, bytes);
      expect(await failure(openWith(platform))).toMatchObject({ code: 'CORRUPT', details: { file } });
    }
    platform.store(file, sound);
    expect((await openWith(platform)).shardCount).toBe(1);
  });

  it('of a decision of the system is too, though it leaves room for history where nobody has asked', async () => {
    const { db, platform } = await machine();
    await db.setPlacement('first', 'group:g');
    expect((await db.put('first', 'k', 1, { time: '1999-01-01T00:00:00Z' })).time).toBe('1999-01-01T00:00:00.000000Z');
    const asked = timeOf(platform);
    const before = (await db.asOf(asked)).positions;
    await db.setPlacement('second', 'group:g');
    const after = await db.asOf(asked);
    expect(after.positions).toEqual(before);
    expect(after.get('_collections', 'second')).toBeUndefined();
    expect(db.now().get('_collections', 'second')?.body).toEqual({ placement: 'group:g' });
  });

  it("may be the client's, if it is later than the newest and not in the future", async () => {
    const { db, platform } = await machine();
    const loaded = await db.put('c', 'k', 1, { time: '1999-12-31T23:59:59.123456789+01:00' });
    expect(loaded.time).toBe('1999-12-31T22:59:59.123456Z');
    for (const time of ['1999-12-31T22:59:59.123456Z', '1999-01-01T00:00:00Z', '1970-01-01T00:00:00Z']) {
      expect(await failure(db.put('c', 'k', 2, { time }))).toMatchObject({ code: 'TIME_BEHIND', details: { newest: loaded.time } });
    }
    const ahead = formatTime(platform.clock.nowMicros() + 1);
    expect(await failure(db.put('c', 'k', 2, { time: ahead }))).toMatchObject({
      code: 'TIME_AHEAD',
      details: { now: formatTime(platform.clock.nowMicros()) },
    });
    expect((await db.put('c', 'k', 2, { time: '1999-12-31T22:59:59.123457Z' })).time).toBe('1999-12-31T22:59:59.123457Z');
    const now = formatTime(platform.clock.nowMicros());
    expect((await db.put('c', 'k', 3, { time: now })).time).toBe(now);
    expect((await db.put('c', 'k', 4)).time).toBe(formatTime(platform.clock.nowMicros() + 1));
    expect(await codeOf(db.put('c', 'k', 5, { time: 'yesterday' }))).toBe('INVALID');
  });

  it('is that of all its records, and checkpoints do not move it', async () => {
    const { db } = await machine();
    const { records } = await db.insert(
      [1, 2, 3].map((n) => ({ collection: 'c', key: `k${n}`, body: n })),
      { time: '2001-01-01T00:00:00Z' },
    );
    expect(new Set(records.map(({ time }) => time))).toEqual(new Set(['2001-01-01T00:00:00.000000Z']));
    await db.checkpoint();
    expect(db.newestTime()).toBe('2001-01-01T00:00:00.000000Z');
    await db.put('c', 'k', 1, { time: '2001-01-01T00:00:00.000001Z' });
  });
});

describe('as of a time', () => {
  it('waits for groups in flight that are stamped up to it', async () => {
    const { db, platform } = await machine({ shards: 2 });
    const waiting = [1, 2, 3, 4].map((n) => db.put('c', `k${n}`, n));
    const view = await db.asOf(timeOf(platform));
    const seen = view.list('c').length;
    await Promise.all(waiting);
    // Stamped now, and a microsecond apart behind that: at least the first of each shard.
    expect(seen).toBeGreaterThanOrEqual(1);
    expect((await db.asOf(timeOf(platform))).list('c')).toHaveLength(seen);
    const last = [...(await Promise.all(waiting))]
      .map(({ time }) => time)
      .sort()
      .at(-1) as string;
    expect((await db.asOf(last)).list('c')).toHaveLength(4);
  });

  it('gives the same answer again, whatever is written, folded or restarted in between', async () => {
    let current = await machine({ shards: 2 });
    const asked: { time: string; answer: string }[] = [];
    const answer = async (time: string) =>
      JSON.stringify((await current.db.asOf(time)).list('c').map(({ id, key, body }) => [id, key, body]));
    for (let round = 0; round < 12; round++) {
      await Promise.all([0, 1, 2].map((i) => current.db.put('c', `k${(round + i) % 5}`, round)));
      if (round % 3 === 0) await current.db.delete('c', `k${round % 5}`);
      const time = timeOf(current.platform);
      asked.push({ time, answer: await answer(time) });
      if (round % 4 === 1) await current.db.checkpoint();
      if (round === 5) current = await reopen(current, { shards: 2 });
      if (round === 9) current = await afterKill(current);
      await current.platform.advanceAndSettle(1000 * round);
      for (const question of asked) expect(await answer(question.time)).toBe(question.answer);
    }
  });

  it('is refused in the future, and before the first record there is nothing', async () => {
    const { db, platform } = await machine();
    await db.put('c', 'k', 1);
    expect(await codeOf(db.asOf(formatTime(platform.clock.nowMicros() + 1)))).toBe('TIME_AHEAD');
    expect(await codeOf(db.asOf('soon'))).toBe('INVALID');
    const view = await db.asOf('1980-01-01T00:00:00Z');
    expect([view.positions, view.get('c', 'k'), view.list('c'), view.history('c', 'k').records]).toEqual([[0], undefined, [], []]);
  });
});

describe('as of an id', () => {
  it('is as of the end of its batch', async () => {
    const { db } = await machine();
    const { records } = await db.insert([1, 2, 3].map((n) => ({ collection: 'c', key: `k${n}`, body: n })));
    await db.put('c', 'k1', 'later');
    for (let round = 0; round < 2; round++) {
      for (const { id } of records) {
        const view = await db.asOf(id);
        expect(view.list('c').map(({ body }) => body)).toEqual([1, 2, 3]);
        expect(view.positions).toEqual([3]);
      }
      await db.checkpoint();
    }
  });

  it('is INVALID for an id not given out, an event, and a record still queued', async () => {
    const { db } = await machine();
    await db.put('c', 'k', 1);
    await db.checkpoint();
    const { durableSeq } = db.shards()[0] as { durableSeq: number };
    const queued = db.put('c', 'k', 2);
    for (const id of [recordId(1, durableSeq), recordId(1, durableSeq + 1), recordId(1, 9999), recordId(2, 1), recordId(1, 0)]) {
      expect(await codeOf(db.asOf(id))).toBe('INVALID');
    }
    expect(db.record(recordId(1, durableSeq))).toBeUndefined();
    expect(db.record(recordId(1, durableSeq + 1))).toBeUndefined();
    await queued;
  });

  it('reaches its shard alone', async () => {
    const { db } = await machine({ shards: 2 });
    const key = (shard: number) =>
      Array.from({ length: 99 }, (_, i) => `k${i}`).find((candidate) => db.shardOf('c', candidate) === shard) as string;
    const { id } = await db.put('c', key(1), 1);
    await db.put('c', key(2), 1);
    const view = await db.asOf(id);
    expect(view.get('c', key(1))?.id).toBe(id);
    expect(await failure(() => view.get('c', key(2)))).toMatchObject({ code: 'CROSS_SHARD', details: { shards: [1, 2] } });
    expect(await codeOf(() => view.list('c'))).toBe('CROSS_SHARD');
  });
});
