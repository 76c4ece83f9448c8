/** An erasure that a disk refused is carried out once the disk does not: nobody has to ask again, and nothing else has to happen. */
import { expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { filesThatSay } from '../support/decoded.js';

it('an erasure that a full disk ended is tried again by itself, until it is done', async () => {
  const machine = new MemoryPlatform({ seed: 5 });
  const db = await openWith(machine, { segmentBytes: 700, upkeep: { automatic: false } });
  for (let i = 0; i < 6; i++) await db.put('people', `p${i}`, `a secret of person ${i} ${'x'.repeat(200)}`);
  machine.failOn(['create', 'write'], { kind: 'error', code: 'ENOSPC' }, { path: '000000000001-0001', times: 2 });
  const job = await db.erase({ collection: 'people', key: 'p0', reason: 'asked to' });
  expect(await db.jobEnded(job.id)).toMatchObject({ state: 'failed' });
  expect(filesThatSay(machine, 'a secret of person 0')).not.toEqual([]);
  for (let minutes = 0; minutes < 10; minutes++) await machine.advanceAndSettle(60_000_000);
  await Promise.all(db.jobs().map(({ id }) => db.jobEnded(id)));
  const states = db.jobs().map(({ state }) => state);
  expect(states.filter((state) => state === 'done').length).toBe(1);
  expect(filesThatSay(machine, 'a secret of person 0')).toEqual([]);
  expect(filesThatSay(machine, 'a secret of person 1')).not.toEqual([]);
  await db.close();
});
