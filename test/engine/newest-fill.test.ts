/** A table of newest versions that is filled from a tree while inserts go on: afterwards it knows every entity, and nothing that is not so. */
import { describe, expect, it } from 'vitest';
import { entityKey } from '../../engine/format/keys.js';
import { runsOf } from '../../engine/format/seq-runs.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { ShardIndex } from '../../engine/shard-index.js';
import type { TreeStore } from '../../engine/tree/tree-store.js';
import { openStore } from '../tree/support.js';

const ENTITIES = 3500;
const HASH = new Uint8Array(32);
const entityOf = (number: number) => entityKey('c', `k${number}`);

interface Filling {
  readonly machine: MemoryPlatform;
  readonly store: TreeStore;
  readonly index: ShardIndex;
  /** Of each entity's newest version. */
  readonly model: Map<string, number>;
  lastSeq: number;
}

/** A tree with two versions of each entity, and an index that begins from it; `newestBytes` as the index takes it. */
async function reopened(newestBytes?: number): Promise<Filling> {
  const machine = new MemoryPlatform();
  const store = await openStore({ machine, targetBytes: 4096 });
  const first = new ShardIndex(machine, store);
  first.startFrom(undefined, 0);
  const model = new Map<string, number>();
  for (let seq = 1; seq <= 2 * ENTITIES; seq++) {
    first.add(entityOf(seq % ENTITIES), seq, seq, 1 + (seq % 3 === 0 ? 1 : 0), 0, HASH);
    model.set(entityOf(seq % ENTITIES), seq);
  }
  expect(first.knowsNewest).toBe(true);
  await first.fold(2 * ENTITIES);
  const index = new ShardIndex(machine, store, undefined, newestBytes);
  index.startFrom(first.root, first.treeSeq);
  expect(index.knowsNewest).toBe(false);
  return { machine, store, index, model, lastSeq: 2 * ENTITIES };
}

/** As an insert does: asks for the version before, and adds one. */
function insert(filling: Filling, entity: string): void {
  const before = filling.index.newest(entity)?.seq;
  if (before !== filling.model.get(entity)) expect([entity, before]).toEqual([entity, filling.model.get(entity)]);
  filling.lastSeq++;
  filling.index.add(entity, filling.lastSeq, filling.lastSeq, 1, 0, HASH);
  filling.model.set(entity, filling.lastSeq);
}

async function insertUntilKnown(filling: Filling, most = 20_000): Promise<number> {
  let inserts = 0;
  for (; inserts < most && !filling.index.knowsNewest; inserts++) {
    insert(filling, inserts % 5 === 4 ? entityOf(ENTITIES + inserts) : entityOf((inserts * 7) % ENTITIES));
    if (inserts % 10 === 9) await filling.machine.clock.yield();
  }
  return inserts;
}

function expectAll({ index, model }: Filling): void {
  for (const [entity, seq] of model) {
    const newest = index.newest(entity);
    if (newest?.seq !== seq) expect([entity, newest?.seq]).toEqual([entity, seq]);
  }
  for (let i = 0; i < 1000; i++) if (index.newest(entityKey('c', `nobody${i}`)) !== undefined) expect(i).toBe('nobody');
}

describe('a table that is filled from a tree', () => {
  it('is complete in the end, with what was added meanwhile, and without reading the tree again', async () => {
    const filling = await reopened();
    expect(await insertUntilKnown(filling)).toBeLessThan(20_000);
    filling.store.close();
    expectAll(filling);
    expect(filling.index.newest(entityOf(5))?.kind).toBe(1);
  });

  it('is as complete where folds come between', async () => {
    const filling = await reopened();
    const folding = (async () => {
      for (let n = 0; n < 5; n++) {
        await filling.machine.clock.yield();
        await filling.index.fold(filling.lastSeq);
      }
    })();
    expect(await insertUntilKnown(filling)).toBeLessThan(20_000);
    await folding;
    expectAll(filling);
  });

  it('is not, and is not wrong, where versions go meanwhile', async () => {
    const filling = await reopened();
    for (let i = 0; i < 2500; i++) insert(filling, entityOf(i));
    await filling.machine.clock.yield();
    // All there is of some entities goes, while the fill is under way.
    const gone = [3000, 3001, 3002];
    filling.index.drop(++filling.lastSeq, runsOf(gone.flatMap((number) => [number, ENTITIES + number]).sort((a, b) => a - b)));
    for (const number of gone) filling.model.delete(entityOf(number));
    await filling.index.fold(filling.lastSeq);
    expect(filling.index.knowsNewest).toBe(false);
    for (const number of gone) expect(filling.index.newest(entityOf(number))).toBeUndefined();
    await insertUntilKnown(filling);
    expectAll(filling);
  });

  it('stays a part where there is no room for all, and is not wrong', async () => {
    const filling = await reopened(40 * 1024);
    await insertUntilKnown(filling, 6000);
    expect(filling.index.knowsNewest).toBe(false);
    expectAll(filling);
  });

  it('is given up when the index ends', async () => {
    const filling = await reopened();
    for (let i = 0; i < 2500; i++) insert(filling, entityOf(i));
    await filling.index.end();
    for (let i = 0; i < 100; i++) await filling.machine.clock.yield();
    expect(filling.index.knowsNewest).toBe(false);
    await insertUntilKnown(filling, 4000);
    expect(filling.index.knowsNewest).toBe(false);
    expectAll(filling);
  });
});
