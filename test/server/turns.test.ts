/** What waits for the end of a turn of the event loop. */
import { expect, it } from 'vitest';
import { endOfTurn } from '../../server/turns.js';

it('the end of a turn is one for all who ask in it, behind what they do at once; who asks then waits for the next', async () => {
  const order: string[] = [];
  const ask = (name: string) => endOfTurn().then(() => void order.push(name));
  const first = ask('a').then(() => ask('c'));
  await Promise.resolve();
  process.nextTick(() => order.push('tick'));
  const second = ask('b');
  expect(endOfTurn()).toBe(endOfTurn());
  await second;
  // Both in one go: nothing of the loop's came between.
  expect(order).toEqual(['tick', 'a', 'b']);
  await first;
  expect(order).toEqual(['tick', 'a', 'b', 'c']);
});
