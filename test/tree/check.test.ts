/** What a full verification sees that a CRC cannot: trees whose frames are whole and whose content is wrong. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { BoundaryRule } from '../../engine/tree/boundary.js';
import { diffTrees } from '../../engine/tree/diff.js';
import { proveEntry } from '../../engine/tree/proof.js';
import { fileSeed, sealNodeFrame } from '../../engine/tree/tree-file.js';
import { EMPTY_ROOT_HASH } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { bytesOf, check, contents, DATABASE_ID, DIRECTORY, fold, openStore, run, SMALL, versionKey } from './support.js';

const PATH = `${DIRECTORY}/000001.tree`;
const keys = Array.from({ length: 100 }, (_, i) => versionKey(`k${i.toString().padStart(3, '0')}`, 1));

async function tree(targetBytes = SMALL): Promise<{ machine: MemoryPlatform; root: TreeRoot }> {
  const machine = new MemoryPlatform();
  const store = await openStore({ machine, targetBytes });
  return { machine, root: await fold(store, undefined, run(keys.map((key, i) => [key, i]))) };
}

/** Changes bytes of the frame at `offset` and gives it the CRC it would need. */
function forge(machine: MemoryPlatform, offset: number, change: (frame: Buffer) => void): void {
  const file = machine.contents(PATH);
  const hashed = file.readUInt32LE(offset + 4);
  const addresses = file.readUInt32LE(offset + 8);
  const frame = Buffer.from(file.subarray(offset, offset + hashed + addresses + 16));
  change(frame);
  sealNodeFrame(frame, 0, hashed, addresses, fileSeed({ databaseId: DATABASE_ID, shard: 1, targetBytes: SMALL }, 1), offset);
  machine.damage(PATH, offset, frame);
}

async function problems(machine: MemoryPlatform, root: TreeRoot): Promise<string[]> {
  return check(await openStore({ machine }), root).problems.map((problem) => problem.what);
}

describe('check', () => {
  it('counts the nodes, entries and bytes of a good tree and complains of nothing', async () => {
    const { machine, root } = await tree();
    const report = check(await openStore({ machine }), root);
    expect(report.problems).toEqual([]);
    expect(report.entries).toBe(100);
    expect(report.nodes).toBeGreaterThan(10);
    expect(report.bytes).toBeLessThanOrEqual(machine.contents(PATH).length - 64 - 80);
  });

  it('sees a changed value, the hash being another', async () => {
    const { machine, root } = await tree();
    forge(machine, 64, (frame) => frame.writeUInt8(frame.at(-10)! ^ 1, frame.length - 10));
    expect(await problems(machine, root)).toEqual(['node does not have the hash its parent names']);
  });

  it('sees keys out of order', async () => {
    const { machine, root } = await tree();
    const first = 12 + 8 + machine.contents(PATH).readUInt16LE(64 + 12 + 4) + 2 * machine.contents(PATH).readUInt16LE(64 + 12 + 2);
    forge(machine, 64, (frame) => frame.writeUInt8(0xfe, first));
    expect(await problems(machine, root)).toContain('keys are not ascending');
  });

  it('sees an entry count or a child hash that is not so', async () => {
    const { machine, root } = await tree();
    forge(machine, root.offset, (frame) => {
      const values = 12 + frame.readUInt32LE(4) - 38 * frame.readUInt16LE(14);
      frame.writeUInt8(frame[values]! ^ 1, values);
      frame.writeUInt8(frame[values + 32]! ^ 1, values + 32);
    });
    const found = await problems(machine, root);
    expect(found.filter((what) => what === 'node does not have the hash its parent names').length).toBe(2);
    expect(found.filter((what) => what === 'node does not have as many entries below as its parent says').length).toBe(2);
  });

  it('sees boundaries that another rule made', async () => {
    const { root } = await tree();
    const machine = new MemoryPlatform();
    const other = await openStore({ machine, targetBytes: 1024 });
    const wide = await fold(other, undefined, run(keys.map((key, i) => [key, i])));
    expect(wide.height).toBeLessThan(root.height);
    expect(check(other, wide, new BoundaryRule(DATABASE_ID, SMALL)).problems.map((problem) => problem.what)).toContain(
      'node goes on after a boundary',
    );
  });

  it('goes on after a node that cannot be read', async () => {
    const { machine, root } = await tree();
    machine.flipBit(PATH, 64 * 8 + 200);
    const report = check(await openStore({ machine }), root);
    expect(report.problems).toEqual([{ file: 1, offset: 64, what: 'node frame fails its checksum' }]);
    expect(report.entries).toBeGreaterThan(80);
  });

  it('sees an empty tree with another hash', async () => {
    const store = await openStore();
    const empty = await fold(store, undefined, []);
    expect(check(store, empty).problems).toEqual([]);
    expect(empty.hash).toEqual(EMPTY_ROOT_HASH);
    expect(check(store, { ...empty, hash: new Uint8Array(32) }).problems.length).toBe(1);
  });

  it('and every reader take forged frames for what they are, or answer from them, but never fall over', async () => {
    const { machine, root } = await tree();
    const offsets: number[] = [];
    const file = machine.contents(PATH);
    for (let at = 64; at < root.offset + root.length; at += file.readUInt32LE(at + 4) + file.readUInt32LE(at + 8) + 16) offsets.push(at);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...offsets),
        fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.constantFrom(...keys),
        async (offset, bytes, key) => {
          const forged = machine.clone();
          forge(forged, offset, (frame) => {
            for (const [at, byte] of bytes) frame[12 + (at % (frame.length - 16))] = byte;
          });
          const store = await openStore({ machine: forged });
          const cursor = store.cursor(root);
          const whole = await openStore({ machine: machine.clone() });
          for (const work of [
            () => contents(store, root),
            () => check(store, root),
            () => store.get(root, bytesOf(key)),
            () => store.ceiling(root, key.slice(0, -6), 1),
            () => store.countRange(root, bytesOf(key), bytesOf('~')),
            () => [
              cursor.seek(bytesOf(key)),
              cursor.valid && [cursor.entity(), cursor.seq(), cursor.settle(1), cursor.nextEntity(), cursor.valid && cursor.previous()],
            ],
            () => [...diffTrees({ store, root }, { store: whole, root: { ...root, hash: new Uint8Array(32) } })],
            () => proveEntry(store, root, bytesOf(key)),
            () =>
              fold(
                store,
                root,
                run([
                  [key, 1],
                  [keys[50]!, undefined],
                ]),
                2,
              ),
          ]) {
            try {
              await work();
            } catch (error) {
              expect(error).toMatchObject({ code: 'CORRUPT' });
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
