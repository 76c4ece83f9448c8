/** What waits to be written is bounded, and who can hold back learns when there is room. */
import { expect, it } from 'vitest';
import { CommitQueue, type CommitQueueHooks, type Group, type Waiter } from '../../engine/commit-queue.js';
import { openWith, VarveError } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

/** A queue whose groups hold one batch of 60 bytes, and commit when the test says so. */
function gated(capacityBytes: number) {
  const commits: { group: Group; done: () => void; fail: (error: Error) => void }[] = [];
  const hooks = {
    newBuilder: () => ({ bytes: 2 ** 30, lastSeq: 1 }),
    nextTurn: () => Promise.resolve(),
    ready: () => undefined,
    commit: (group: Group) => new Promise<void>((done, fail) => commits.push({ group, done, fail })),
    commitNow: () => false,
    idle: () => {},
  } as unknown as CommitQueueHooks;
  const queue = new CommitQueue(hooks, capacityBytes);
  const told: string[] = [];
  const waiter: Waiter = { committed: () => told.push('committed'), failed: ({ code }) => told.push(code) };
  return { queue, commits, told, add: () => queue.added(queue.gathering(), waiter, 1) };
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

it('refuses more than it holds as OVERLOADED, and says when there is room', async () => {
  const { queue, commits, told, add } = gated(2 ** 30);
  expect(queue.room()).toBeUndefined();
  add();
  expect(queue.room()).toBeUndefined();
  add();
  expect(() => add()).toThrow(expect.objectContaining({ code: 'OVERLOADED', details: { retryAfterMs: 1000 } }));
  let waited = false;
  const waiting = queue.room()?.then(() => (waited = true));
  expect(waiting).toBeDefined();
  await turn();
  expect([commits.length, waited]).toEqual([1, false]);
  commits[0]?.done();
  await waiting;
  expect(queue.room()).toBeUndefined();
  add();
  await turn();
  commits[1]?.done();
  await turn();
  commits[2]?.done();
  await queue.drained();
  expect(told).toEqual(['committed', 'committed', 'committed']);
});

it('lets those who hold back go on where everything queued has failed', async () => {
  const { queue, commits, told, add } = gated(2 ** 30);
  add();
  add();
  const waiting = queue.room();
  await turn();
  commits[0]?.fail(new VarveError('UNAVAILABLE', 'gone', { shard: 1, reason: 'gone' }));
  await waiting;
  expect(queue.room()).toBeUndefined();
  await queue.drained();
  expect(told).toHaveLength(2);
});

it('has room in a database that has nothing to do', async () => {
  const db = await openWith(new MemoryPlatform({ autoAdvanceMicros: 1 }), { shards: 2 });
  expect(db.room()).toBeUndefined();
  await db.close();
});
