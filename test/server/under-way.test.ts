import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { UnderWay } from '../../server/under-way.js';

const answers = (count: number) => Array.from({ length: count }, () => new ServerResponse(new IncomingMessage(new Socket())));

it('holds what was added and is not over, in whatever order it ends', () => {
  const all = answers(6);
  const underWay = new UnderWay();
  for (const res of all) underWay.add(res);
  const left = new Set(all);
  for (const place of [2, 5, 0, 4, 1, 3]) {
    expect(underWay.delete(all[place]!)).toBe(true);
    left.delete(all[place]!);
    expect(underWay.size).toBe(left.size);
    expect(new Set(underWay)).toEqual(left);
  }
});

it('takes each away once', () => {
  const [one, other] = answers(2);
  const underWay = new UnderWay();
  underWay.add(one!);
  expect(underWay.delete(other!)).toBe(false);
  expect(underWay.delete(one!)).toBe(true);
  expect(underWay.delete(one!)).toBe(false);
  expect(underWay.size).toBe(0);
});

it('goes through all of the moment it is asked, though they end meanwhile', () => {
  const all = answers(5);
  const underWay = new UnderWay();
  for (const res of all) underWay.add(res);
  const met: ServerResponse[] = [];
  for (const res of underWay) {
    met.push(res);
    underWay.delete(res);
  }
  expect(new Set(met)).toEqual(new Set(all));
  expect(underWay.size).toBe(0);
});
