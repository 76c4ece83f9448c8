/** What happens to shards is told once in the log, when it begins and when it is over. */
import { afterEach, describe, expect, it } from 'vitest';
import { type Database, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { ShardEvents } from '../../server/shard-events.js';
import { memoryLog } from './doors-support.js';

let db: Database;
afterEach(() => db.close().catch(() => undefined));

async function start(): Promise<{ platform: MemoryPlatform; look: () => string[] }> {
  const platform = new MemoryPlatform({ autoAdvanceMicros: 10 });
  db = await openWith(platform, { shards: 2 });
  await db.put('c', 'a', 1);
  const log = memoryLog('info');
  const events = new ShardEvents(log.logger);
  const look = () => {
    events.look(db);
    return log.lines.splice(0).map((line) => {
      const { msg, shard } = JSON.parse(line);
      return shard === undefined ? msg : `${msg}: ${shard}`;
    });
  };
  return { platform, look };
}

describe('events of shards', () => {
  it('say nothing while nothing happens', async () => {
    const { look } = await start();
    expect(look()).toEqual([]);
    await db.put('c', 'a', 2);
    expect(look()).toEqual([]);
  });

  it('tell when a shard stops taking writes, once, and when it takes them again', async () => {
    const { platform, look } = await start();
    const shard = db.shardOf('c', 'a');
    platform.failOn('sync', { kind: 'failed-sync' }, { times: 2 });
    await expect(db.put('c', 'a', 2)).rejects.toThrow();
    expect(look()).toEqual([`a shard takes no writes: ${shard}`]);
    expect(look()).toEqual([]);
    await platform.advanceAndSettle(10e6);
    expect(look()).toEqual([`a shard takes writes again: ${shard}`]);
  });

  it('leave it to the one who asks around to tell that an owner is being found out', async () => {
    const { look } = await start();
    await db.replica(1).fence('who owns this shard is being found out');
    await expect(db.put('c', 'k', 1).then(() => db.put('c', 'b', 1))).rejects.toThrow();
    expect(look()).toEqual([]);
    await db.replica(1).lead();
    expect(look()).toEqual([]);
  });

  it('tell of a failure that came and went between two looks', async () => {
    const { platform, look } = await start();
    const shard = db.shardOf('c', 'a');
    platform.failOn('sync', { kind: 'failed-sync' }, { times: 1 });
    await expect(db.put('c', 'a', 2)).rejects.toThrow();
    await platform.advanceAndSettle(10e6);
    expect(look()).toEqual([`writes failed; the shard has recovered: ${shard}`]);
  });

  it('tell of folds that fail, and of the one that succeeds', async () => {
    const { platform, look } = await start();
    const shard = db.shardOf('c', 'a');
    platform.failOn('write', { kind: 'error', code: 'ENOSPC' }, { path: 'tree/' });
    await expect(db.checkpoint(shard)).rejects.toThrow();
    expect(look()).toEqual([`a fold failed: ${shard}`]);
    await db.checkpoint(shard);
    expect(look()).toEqual([`folding works again: ${shard}`]);
  });

  it('tell of a compaction that fails, and of the one that succeeds', async () => {
    const { platform, look } = await start();
    await db.put('c', 'a', 2);
    await db.setRetention('c', { keep: 'last', versions: 1 });
    platform.faults.failWhen(({ kind, path }) => kind === 'write' && path.includes('-0001.seg'), { kind: 'error', code: 'ENOSPC' });
    expect(await db.jobEnded(db.compact({ force: true }).id)).toMatchObject({ state: 'failed' });
    expect(look()).toEqual(['giving space back failed']);
    expect(look()).toEqual([]);
    platform.faults.clear();
    expect(await db.jobEnded(db.compact({ force: true }).id)).toMatchObject({ state: 'done' });
    expect(look()).toEqual(['space is given back again']);
  });
});
