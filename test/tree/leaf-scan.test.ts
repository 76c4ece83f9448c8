/** A scan of all leaves: those that a cursor goes through, wherever folds have left them, and nothing else of the files. */
import { describe, expect, it } from 'vitest';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { Node } from '../../engine/tree/node.js';
import type { TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { contents, DIRECTORY, fold, openStore, run, versionKey } from './support.js';

const LEAST_AHEAD = 1500;

/** Over several files, with dead nodes between the live ones. */
async function filled(machine = new MemoryPlatform(), rounds = 4) {
  const store = await openStore({ machine, fileBytes: 60_000 });
  let root: TreeRoot | undefined;
  for (let round = 0; round < rounds; round++) {
    const versions = Array.from({ length: 500 }, (_, i) => [versionKey(`k${i * 4 + round}`, round * 10_000 + i + 1), i] as const);
    root = await fold(store, root, run(versions), round + 1);
  }
  return { machine, store, root: root! };
}

function scanned(store: TreeStore, root: TreeRoot | undefined, each: (leaf: Node) => void = () => undefined): [string, string][] {
  const found: [string, string][] = [];
  const leaves = store.leaves(root);
  for (let leaf = leaves.next(); leaf !== undefined; leaf = leaves.next()) {
    each(leaf);
    for (let i = 0; i < leaf.count; i++) found.push([leaf.key(i).toString('latin1'), leaf.value(i).toString('latin1')]);
  }
  expect(leaves.next()).toBeUndefined();
  return found;
}

describe('a scan of the leaves', () => {
  it('meets every entry once, in order, with few reads', async () => {
    const { machine, store, root } = await filled();
    const expected = contents(store, root).map(([key]) => key);
    let leaves = 0;
    const before = machine.ops;
    const found = scanned(store, root, () => leaves++);
    expect(found.map(([key]) => key)).toEqual(expected);
    expect(found.length).toBe(2000);
    expect(machine.ops - before).toBeLessThan(leaves * 0.7);
    expect(scanned(store, undefined)).toEqual([]);
    const single = await openStore();
    const small = await fold(single, undefined, run([[versionKey('a', 1), 1]]));
    expect(scanned(single, small).length).toBe(1);
    store.close();
    single.close();
  });

  it('leaves the leaf before as it was when it gives the next one', async () => {
    const { store, root } = await filled();
    let before: { readonly leaf: Node; readonly hash: string } | undefined;
    scanned(store, root, (leaf) => {
      if (before !== undefined) expect(before.leaf.hash().toString('hex')).toBe(before.hash);
      before = { leaf, hash: leaf.hash().toString('hex') };
    });
    store.close();
  });

  it('does not fail for what lies between, and tells what is bad of what does not', async () => {
    const { machine, store, root } = await filled();
    const expected = scanned(store, root);
    machine.faults.failWhen(
      ({ kind, length }) => kind === 'read' && length >= LEAST_AHEAD,
      { kind: 'error', code: 'EIO' },
      { times: Number.POSITIVE_INFINITY },
    );
    expect(scanned(store, root)).toEqual(expected);
    store.close();

    const bad = await filled();
    let refused = 0;
    for (const name of bad.machine.files.list(DIRECTORY)) {
      const path = `${DIRECTORY}/${name}`;
      const file = bad.machine.files.open(path, 'update');
      for (let at = 200; at < file.size(); at += 4099) {
        const byte = Buffer.alloc(1);
        file.read(byte, 0, 1, at);
        await file.write(Buffer.of(byte[0]! ^ 0x10), 0, 1, at);
        try {
          expect(scanned(bad.store, bad.root)).toEqual(expected);
        } catch (error) {
          expect((error as { code?: string }).code).toBe('CORRUPT');
          refused++;
        }
        await file.write(byte, 0, 1, at);
      }
      file.close();
    }
    expect(refused).toBeGreaterThan(0);
    bad.store.close();
  });
});
