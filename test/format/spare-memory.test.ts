/** Memory that is used again: only what was taken, and by one at a time. */
import { expect, it } from 'vitest';
import { SpareMemory } from '../../engine/format/spare-memory.js';

const LARGE = 300_000;

it('gives what came back to the next, and nothing that has not come back', () => {
  const memory = new SpareMemory();
  const first = memory.take(LARGE);
  const second = memory.take(LARGE);
  expect(second.buffer).not.toBe(first.buffer);
  memory.giveBack(first.subarray(5, 10));
  const third = memory.take(LARGE - 70_000);
  expect(third.buffer).toBe(first.buffer);
  expect([third.byteOffset, third.length]).toEqual([0, LARGE - 70_000]);
  expect(memory.take(LARGE).buffer).not.toBe(first.buffer);
});

it('makes more where what it has is too small', () => {
  const memory = new SpareMemory();
  memory.giveBack(memory.take(LARGE));
  expect(memory.take(2 * LARGE).length).toBe(2 * LARGE);
});

it('leaves alone what it did not give, and what is too small or too large to keep', () => {
  const memory = new SpareMemory();
  const other = Buffer.alloc(LARGE);
  memory.giveBack(other);
  expect(memory.take(LARGE).buffer).not.toBe(other.buffer);
  for (const bytes of [0, 100, 5_000_000]) {
    const taken = memory.take(bytes);
    expect(taken.length).toBe(bytes);
    memory.giveBack(taken);
    expect(memory.take(bytes).buffer).not.toBe(taken.buffer);
  }
});

it('is not given the same twice', () => {
  const memory = new SpareMemory();
  const taken = memory.take(LARGE);
  memory.giveBack(taken);
  expect(() => memory.giveBack(taken)).toThrow('given back once');
});
