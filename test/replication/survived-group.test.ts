/** A group whose write failed may be in the log all the same: whoever follows is given it before anything that came later. */
import { expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { RecentGroups } from '../../replication/recent-groups.js';

it('what is kept of the newest groups never jumps over one that survived the failure of its sync', async () => {
  const machine = new MemoryPlatform({ seed: 3 });
  const db = await openWith(machine, { upkeep: { automatic: false } });
  const shard = db.replica(1);
  const recent = new RecentGroups(shard, machine.clock, 0, 1 << 20);
  const leave = recent.enter();
  await db.put('c', 'first', 1);
  const before = shard.durableSeq;
  machine.failOn('sync', { kind: 'failed-sync', keeps: 'some' }, { path: '/log/' });
  await expect(db.put('c', 'unknown', 1)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  for (let seconds = 0; seconds < 20 && shard.durableSeq === before; seconds++) await machine.advanceAndSettle(1_000_000);
  expect(shard.durableSeq).toBe(before + 1);
  await db.put('c', 'later', 1);
  expect(recent.after(before, 1 << 20)?.[0]?.firstSeq ?? before + 1).toBe(before + 1);
  expect(recent.after(before + 1, 1 << 20)?.[0]?.firstSeq).toBe(before + 2);
  leave();
  await db.close();
});
