import { describe, expect, it } from 'vitest';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { NodeCache } from '../../engine/tree/tree-store.js';
import { bytesOf, contents, fold, openStore, run, versionKey } from './support.js';

const keys = Array.from({ length: 2000 }, (_, i) => versionKey(`k${i.toString().padStart(5, '0')}`, 1));
const changes = run(keys.map((key, i) => [key, i]));

describe('the node cache', () => {
  it('stays within its bytes whatever is read, and answers the same', async () => {
    const cache = new NodeCache(20_000);
    const store = await openStore({ cache });
    const root = await fold(store, undefined, changes);
    const first = contents(store, root);
    for (let i = 0; i < 3000; i++) {
      const at = (i * 7919) % keys.length;
      expect(store.get(root, bytesOf(keys[at]!))?.toString('hex')).toBe(first[at]![1]);
      expect(cache.bytes).toBeLessThanOrEqual(20_000);
    }
    expect(contents(store, root)).toEqual(first);
  });

  it('serves what it holds without reading', async () => {
    const machine = new MemoryPlatform();
    const store = await openStore({ machine, cache: new NodeCache(1 << 24) });
    const root = await fold(store, undefined, changes);
    const first = contents(store, root);
    const before = machine.ops;
    expect(contents(store, root)).toEqual(first);
    expect(machine.ops).toBe(before);
  });

  it('is shared: stores do not see or drop each other’s nodes', async () => {
    const cache = new NodeCache(1 << 24);
    const one = await openStore({ cache, shard: 1 });
    const two = await openStore({ cache, shard: 2 });
    const root = await fold(one, undefined, changes);
    const other = await fold(two, undefined, run(keys.map((key, i) => [key, i + 1])));
    expect(contents(one, root)[5]).not.toEqual(contents(two, other)[5]);
    const both = cache.nodes;
    one.close();
    expect(cache.nodes).toBeLessThan(both);
    expect(cache.nodes).toBeGreaterThan(0);
    expect(contents(two, other).length).toBe(keys.length);
    two.close();
    expect(cache.nodes).toBe(0);
    expect(cache.bytes).toBe(0);
  });

  it('keeps what several versions of a tree share once', async () => {
    const cache = new NodeCache(1 << 24);
    const store = await openStore({ cache });
    const root = await fold(store, undefined, changes);
    contents(store, root);
    const nodes = cache.nodes;
    const next = await fold(store, root, run([[keys[1000]!, 77]]), 2);
    for (let i = 0; i < 3; i++) {
      expect(contents(store, next).length).toBe(keys.length);
      expect(contents(store, root).length).toBe(keys.length);
    }
    expect(cache.nodes).toBeLessThan(nodes + 10);
  });
});
