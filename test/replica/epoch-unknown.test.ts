/** An epoch's event whose write failed may be in the log all the same: then the log names the owner, and so does the shard. */
import { expect, it } from 'vitest';
import { Engine } from '../../engine/engine.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { catchUp, openCopy, ownerNamed, SMALL } from './support.js';

it('an epoch that survived the failure of its write is owned by who began it, without a start in between', async () => {
  const machine = new MemoryPlatform({ seed: 1 });
  const old = await Engine.open(machine, SMALL);
  for (let i = 0; i < 5; i++) await old.put('c', `k${i}`, i);
  const copy = await openCopy(machine, 2);
  const { db } = copy;
  await catchUp(old, db);
  const replica = db.replica(1);
  await replica.follow(ownerNamed(old));
  const disk = copy.machine as MemoryPlatform;
  disk.failOn('syncDirectory', { kind: 'failed-sync', keeps: 'some' }, { path: 'shards/0001/log' });
  await expect(replica.beginEpoch(2, ownerNamed(db), 'a test')).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  for (let seconds = 0; seconds < 20 && replica.epoch === 1; seconds++) await disk.advanceAndSettle(1_000_000);
  expect(replica).toMatchObject({ role: 'fenced', epoch: 2, owner: ownerNamed(db) });
  await replica.lead();
  await db.put('c', 'k', 'goes on');
  expect(replica).toMatchObject({ role: 'owner', epoch: 2 });
  await Promise.all([old.close(), db.close()]);
});
