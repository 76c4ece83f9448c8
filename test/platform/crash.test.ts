/** The crash model of the simulated disk: what a power cut may take, and what it may not. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keepEverything, loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { CrashOptions } from '../../engine/platform/memory-content.js';
import { everyCrash, fill, machineWith, put, SECTOR, shape, shapes } from './disk-support.js';

describe('a power cut', () => {
  it('leaves a synced file whole, whatever it chooses', async () => {
    const { machine } = await machineWith('a', fill('A', 3000));
    const left = everyCrash(machine);
    expect(left.length).toBe(1);
    expect(left[0]?.contents('a').equals(fill('A', 3000))).toBe(true);
  });

  it('keeps each subset of overwritten sectors exactly once', async () => {
    for (const k of [1, 2, 3, 8]) {
      const { machine, file } = await machineWith('a', fill('o', k * SECTOR));
      await put(file, fill('N', k * SECTOR), 0);
      expect(machine.pendingSectors()).toBe(k);
      const left = shapes(everyCrash(machine), 'a');
      expect(left.length).toBe(2 ** k);
      expect(new Set(left).size).toBe(2 ** k);
      expect(left.every((text) => text.length === k && /^[oN]*$/.test(text))).toBe(true);
    }
  });

  it('lets an appended file have any size on the way, and zeros in sectors that were not kept', async () => {
    const { machine, file } = await machineWith('a', fill('o', SECTOR));
    await put(file, fill('N', 2 * SECTOR), SECTOR);
    expect(shapes(everyCrash(machine), 'a')).toEqual(['o', 'oN', 'oNN', 'oN·', 'o·', 'o·N', 'o··'].sort());
  });

  it('keeps any of the values a sector had since the last sync', async () => {
    const { machine, file } = await machineWith('a', fill('o', SECTOR));
    await put(file, fill('1', SECTOR), 0);
    await put(file, fill('2', SECTOR), 0);
    expect(shapes(everyCrash(machine), 'a')).toEqual(['1', '2', 'o']);
    await file.sync();
    await put(file, fill('3', SECTOR), 0);
    expect(shapes(everyCrash(machine), 'a')).toEqual(['2', '3']);
  });

  it('keeps the neighbours of a small write in its sector', async () => {
    const { machine, file } = await machineWith('a', fill('o', 100));
    await put(file, fill('n', 10), 100);
    await put(file, fill('m', 10), 110);
    const left = everyCrash(machine).map((after) => after.contents('a').toString('latin1').replaceAll('\0', '.'));
    const old = 'o'.repeat(100);
    // One sector with three values, at three sizes.
    expect(new Set(left)).toEqual(
      new Set([
        old,
        `${old}${'.'.repeat(10)}`,
        `${old}${'n'.repeat(10)}`,
        `${old}${'.'.repeat(20)}`,
        `${old}${'n'.repeat(10)}${'.'.repeat(10)}`,
        `${old}${'n'.repeat(10)}${'m'.repeat(10)}`,
      ]),
    );
  });

  it('may take back a truncation, but never brings cut bytes into what grew after it', async () => {
    const { machine, file } = await machineWith('a', fill('o', 3 * SECTOR));
    await file.truncate(SECTOR);
    await put(file, fill('N', SECTOR), 2 * SECTOR);
    const left = new Set(shapes(everyCrash(machine), 'a'));
    expect(left).toEqual(new Set(['ooo', 'ooN', 'o', 'o··', 'o·N']));
    await file.sync();
    expect(shapes(everyCrash(machine), 'a')).toEqual(['o·N']);
  });

  it('tears the last kept sector where asked to', async () => {
    const { machine, file } = await machineWith('a', fill('o', 2 * SECTOR));
    await put(file, fill('N', 2 * SECTOR), 0);
    const left = everyCrash(machine, { tear: [8, 500] }).map((after) => after.contents('a').toString());
    const part = (new1: number, new2: number): string =>
      'N'.repeat(new1) + 'o'.repeat(SECTOR - new1) + 'N'.repeat(new2) + 'o'.repeat(SECTOR - new2);
    const whole = SECTOR;
    const expected = [
      [0, 0],
      [8, 0],
      [500, 0],
      [whole, 0],
      [0, 8],
      [0, 500],
      [0, whole],
      [whole, 8],
      [whole, 500],
      [whole, whole],
    ] as const;
    expect(new Set(left)).toEqual(new Set(expected.map(([a, b]) => part(a, b))));
    expect(left.length).toBe(expected.length);
  });

  it('may take the name of a file whose bytes are synced', async () => {
    const machine = new MemoryPlatform();
    const file = machine.files.open('a', 'create');
    await put(file, fill('A', SECTOR), 0);
    await file.sync();
    expect(machine.pendingEntries()).toBe(1);
    expect(shapes(everyCrash(machine), 'a')).toEqual(['A', 'gone']);
    await machine.files.syncDirectory('');
    expect(machine.pendingEntries()).toBe(0);
    expect(shapes(everyCrash(machine), 'a')).toEqual(['A']);
  });

  it('may take the bytes of a file whose name is synced', async () => {
    const machine = new MemoryPlatform();
    await put(machine.files.open('a', 'create'), fill('A', SECTOR), 0);
    await machine.files.syncDirectory('');
    expect(shapes(everyCrash(machine), 'a')).toEqual(['', 'A', '·'].sort());
  });

  it('makes a rename happen wholly or not at all, and may undo it until the directory is synced', async () => {
    const { machine } = await machineWith('a', fill('A', SECTOR));
    machine.store('b', fill('B', SECTOR));
    machine.files.rename('a', 'b');
    const left = everyCrash(machine).map((after) => `${shape(after, 'a')} ${shape(after, 'b')}`);
    expect(left.sort()).toEqual(['A B', 'gone A']);
    await machine.files.syncDirectory('');
    expect(everyCrash(machine).map((after) => `${shape(after, 'a')} ${shape(after, 'b')}`)).toEqual(['gone A']);
  });

  it('may leave a file that changed its directory under both names or none, each until its directory is synced', async () => {
    const { machine } = await machineWith('a', fill('A', SECTOR));
    machine.files.makeDirectory('x');
    await machine.files.syncDirectory('');
    machine.files.rename('a', 'x/a');
    const outcomes = (): string[] =>
      everyCrash(machine)
        .map((after) => `${shape(after, 'a')} ${shape(after, 'x/a')}`)
        .sort();
    expect(outcomes()).toEqual(['A A', 'A gone', 'gone A', 'gone gone']);
    await machine.files.syncDirectory('x');
    expect(outcomes()).toEqual(['A A', 'gone A']);
    await machine.files.syncDirectory('');
    expect(outcomes()).toEqual(['gone A']);
  });

  it('may bring a removed file back, with its bytes, until the directory is synced', async () => {
    const { machine } = await machineWith('a', fill('A', SECTOR));
    machine.files.remove('a');
    expect(shapes(everyCrash(machine), 'a')).toEqual(['A', 'gone']);
    await machine.files.syncDirectory('');
    expect(shapes(everyCrash(machine), 'a')).toEqual(['gone']);
  });

  it('keeps entry changes in any combination, or only in their order, as asked', () => {
    const machine = new MemoryPlatform();
    machine.files.open('a', 'create');
    machine.files.open('b', 'create');
    const names = (options: CrashOptions): string[] =>
      everyCrash(machine, options)
        .map((after) => after.files.list('').join(''))
        .sort();
    expect(names({})).toEqual(['', 'a', 'ab', 'b']);
    expect(names({ directories: 'prefix' })).toEqual(['', 'a', 'ab']);
  });

  it('takes a directory and all below it if its own entry was not synced', async () => {
    const machine = new MemoryPlatform();
    machine.files.makeDirectory('x/y');
    await put(machine.files.open('x/y/a', 'create'), fill('A', 1), 0);
    await machine.files.syncDirectory('x/y');
    await machine.files.syncDirectory('');
    expect(machine.crash(loseEverything).fileList()).toEqual([]);
    expect(machine.crash(loseEverything).files.list('x')).toEqual([]);
    await machine.files.syncDirectory('x');
    expect(machine.crash(loseEverything).fileList()).toEqual([{ path: 'x/y/a', size: 0 }]);
  });

  it('finds bytes unsynced that were written after the sync began, or whose sync has not come back', async () => {
    const { machine, file } = await machineWith('a', fill('o', SECTOR));
    await put(file, fill('1', SECTOR), 0);
    const syncing = file.sync();
    const writing = put(file, fill('2', SECTOR), 0);
    expect(shapes(everyCrash(machine), 'a')).toEqual(['1', '2', 'o']);
    await syncing;
    await writing;
    expect(shapes(everyCrash(machine), 'a')).toEqual(['1', '2']);
  });

  it('leaves the machine it was taken from as it is', async () => {
    const { machine, file } = await machineWith('a', fill('o', SECTOR));
    await put(file, fill('N', SECTOR), 0);
    const after = machine.crash(keepEverything);
    const again = after.files.open('a', 'update');
    await put(again, fill('X', 2 * SECTOR), 0);
    await again.sync();
    expect(shape(machine, 'a')).toBe('N');
    expect(shape(machine.crash(loseEverything), 'a')).toBe('o');
    await put(file, fill('M', SECTOR), 0);
    expect(shape(after, 'a')).toBe('XX');
    expect(shape(after.crash(loseEverything), 'a')).toBe('XX');
  });

  it('leaves nothing but old, written or zero bytes, synced ones always (property)', async () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant('write' as const), position: fc.nat(3000), length: fc.integer({ min: 1, max: 1500 }) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('sync' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncate' as const), size: fc.nat(4000) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.array(fc.nat(), { minLength: 8, maxLength: 8 }), async (steps, seeds) => {
        const { machine, file } = await machineWith('a', Buffer.alloc(0));
        // A trivial model: what reads must see, and what was seen at the last sync.
        let model = Buffer.alloc(0);
        let synced = model;
        let changedSince = new Set<number>();
        let truncated = false;
        let letter = 0;
        const touch = (from: number, to: number): void => {
          for (let sector = Math.floor(from / SECTOR); sector * SECTOR < to; sector++) changedSince.add(sector);
        };
        for (const step of steps) {
          if (step.kind === 'sync') {
            await file.sync();
            synced = model;
            changedSince = new Set();
            truncated = false;
          } else if (step.kind === 'truncate') {
            await file.truncate(step.size);
            model = Buffer.concat([model.subarray(0, step.size), Buffer.alloc(Math.max(0, step.size - model.length))]);
            truncated = true;
          } else {
            const bytes = Buffer.alloc(step.length, 65 + (letter++ % 26));
            await put(file, bytes, step.position);
            const grown = Buffer.alloc(Math.max(model.length, step.position + step.length));
            model.copy(grown);
            bytes.copy(grown, step.position);
            model = grown;
            touch(step.position, step.position + step.length);
          }
          expect(machine.contents('a').equals(model)).toBe(true);
        }
        expect(machine.crash(keepEverything).contents('a').equals(model)).toBe(true);
        expect(machine.crash(loseEverything).contents('a').equals(synced)).toBe(true);
        expect(machine.killProcess().contents('a').equals(model)).toBe(true);
        for (const seed of seeds) {
          const left = machine.crash(randomChooser(seed)).contents('a');
          expect(machine.crash(randomChooser(seed)).contents('a').equals(left)).toBe(true);
          if (truncated) continue;
          for (let at = 0; at < synced.length; at += SECTOR) {
            if (!changedSince.has(at / SECTOR)) {
              expect(
                left
                  .subarray(at, at + SECTOR)
                  .subarray(0, synced.length - at)
                  .equals(synced.subarray(at, at + SECTOR)),
              ).toBe(true);
            }
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe('the death of the process alone', () => {
  it('keeps what was written, still unsynced, and frees the lock', async () => {
    const { machine, file } = await machineWith('a', fill('o', SECTOR));
    machine.files.lock('lock');
    await put(file, fill('N', SECTOR), 0);
    const after = machine.killProcess();
    after.files.lock('lock');
    expect(shape(after, 'a')).toBe('N');
    expect(shapes(everyCrash(after), 'a')).toEqual(['N', 'o']);
    const reopened = after.files.open('a', 'update');
    await reopened.sync();
    expect(shapes(everyCrash(after), 'a')).toEqual(['N']);
    expect(shapes(everyCrash(machine), 'a')).toEqual(['N', 'o']);
  });
});
