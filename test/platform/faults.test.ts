/** What can be made to go wrong on the simulated disk without a power cut, and how the power is cut at a chosen moment. */
import { describe, expect, it } from 'vitest';
import { keepEverything, loseEverything } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation, PowerCutError } from '../../engine/platform/memory-faults.js';
import { everyCrash, fill, machineWith, put, SECTOR, shape, shapes } from './disk-support.js';

describe('a planned fault', () => {
  it('makes a failed sync look clean: reads see the bytes, no retry saves them, a crash loses them', async () => {
    const { machine, file } = await machineWith('a', fill('o', 2 * SECTOR));
    await put(file, fill('N', SECTOR), 0);
    machine.failAt(machine.ops, { kind: 'failed-sync' });
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
    await file.sync();
    expect(shape(machine, 'a')).toBe('No');
    expect(shapes(everyCrash(machine), 'a')).toEqual(['oo']);
    await put(file, fill('M', SECTOR), SECTOR);
    await file.sync();
    expect(shapes(everyCrash(machine), 'a')).toEqual(['oM']);
    await put(file, fill('X', 1), 0);
    await file.sync();
    expect(machine.crash(loseEverything).contents('a').subarray(0, 3).toString()).toBe('XNN');
  });

  it('can leave it open what of a failed sync got through', async () => {
    const { machine, file } = await machineWith('a', fill('o', 2 * SECTOR));
    await put(file, fill('N', 2 * SECTOR), 0);
    machine.failOn('sync', { kind: 'failed-sync', code: 'ENOSPC', keeps: 'some' });
    await expect(file.sync()).rejects.toMatchObject({ code: 'ENOSPC' });
    await file.sync();
    expect(shapes(everyCrash(machine), 'a')).toEqual(['NN', 'No', 'oN', 'oo']);
  });

  it('treats a failed directory sync alike', async () => {
    const machine = new MemoryPlatform();
    machine.files.open('a', 'create');
    machine.failOn('syncDirectory', { kind: 'error', code: 'EIO' });
    await expect(machine.files.syncDirectory('')).rejects.toMatchObject({ code: 'EIO' });
    await machine.files.syncDirectory('');
    expect(machine.files.exists('a')).toBe(true);
    expect(machine.crash(keepEverything).files.exists('a')).toBe(false);
  });

  it('shortens a write without an error', async () => {
    const { machine, file } = await machineWith('a', Buffer.alloc(0));
    machine.failOn('write', { kind: 'short', bytes: 3 });
    expect(await put(file, fill('x', 10), 0)).toBe(3);
    expect(file.size()).toBe(3);
    expect(await put(file, fill('x', 7), 3)).toBe(7);
  });

  it('happens at its index, to its kind, on its path, as often as planned', async () => {
    const { machine, file } = await machineWith('a.seg', fill('o', 10));
    machine.failOn(['read', 'readFile'], { kind: 'error', code: 'EIO' }, { path: '.seg', skip: 1, times: 2 });
    const read = (): number => file.read(Buffer.alloc(10), 0, 10, 0);
    expect(read()).toBe(10);
    expect(read).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(() => machine.files.readFile('a.seg')).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(read()).toBe(10);
    machine.failAt(machine.ops + 1, { kind: 'error', code: 'EACCES' });
    machine.files.list('');
    expect(() => machine.files.rename('a.seg', 'b')).toThrow(expect.objectContaining({ code: 'EACCES' }));
    expect(machine.files.list('')).toEqual(['a.seg']);
    machine.failOn('write', { kind: 'error', code: 'EIO' });
    machine.clearFaults();
    expect(await put(file, fill('x', 1), 0)).toBe(1);
  });

  it('fills the disk as Linux does: first a short write, then ENOSPC, until there is room', async () => {
    const { machine, file } = await machineWith('a', fill('o', 100));
    machine.capacityBytes = 150;
    expect(await put(file, fill('x', 40), 80)).toBe(40);
    expect(await put(file, fill('x', 100), 100)).toBe(50);
    await expect(put(file, fill('x', 10), 150)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(await put(file, fill('y', 150), 0)).toBe(150);
    machine.capacityBytes = 160;
    expect(await put(file, fill('x', 10), 150)).toBe(10);
    const other = machine.files.open('b', 'create');
    await expect(put(other, fill('x', 1), 0)).rejects.toMatchObject({ code: 'ENOSPC' });
    machine.files.remove('a');
    expect(await put(other, fill('x', 1), 0)).toBe(1);
  });

  it('cuts the power before any chosen operation', async () => {
    const work = async (machine: MemoryPlatform): Promise<void> => {
      const file = machine.files.open('a.tmp', 'create');
      await put(file, fill('A', SECTOR), 0);
      await file.sync();
      machine.files.rename('a.tmp', 'a');
      await machine.files.syncDirectory('');
    };
    const rehearsal = new MemoryPlatform({ trace: true });
    await work(rehearsal);
    const steps = ['create a.tmp', 'write a.tmp', 'sync a.tmp', 'rename a.tmp', 'syncDirectory '];
    expect(rehearsal.trace.map(({ kind, path }) => `${kind} ${path}`)).toEqual(steps);
    const points = rehearsal.trace.filter(isMutation).map(({ index }) => index);
    const outcomes: string[][] = [];
    for (const point of [...points, rehearsal.ops]) {
      const machine = new MemoryPlatform();
      machine.crashAt(point);
      const failure = await work(machine).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(failure instanceof PowerCutError).toBe(point < rehearsal.ops);
      if (point < rehearsal.ops) {
        expect(machine.halted).toBe(true);
        expect(() => machine.files.exists('a')).toThrow(PowerCutError);
      }
      outcomes.push([...new Set(shapes(everyCrash(machine), 'a'))]);
    }
    // The name alone, of an unsynced rename, comes with the whole file: it was synced before.
    expect(outcomes).toEqual([['gone'], ['gone'], ['gone'], ['gone'], ['A', 'gone'], ['A']]);
  });

  it('can leave what was under way without an answer for ever', async () => {
    const { machine, file } = await machineWith('a', fill('o', 1));
    const ran: string[] = [];
    machine.clock.after(1, () => ran.push('timer'));
    const syncing = file.sync().then(
      () => ran.push('sync'),
      () => ran.push('sync'),
    );
    machine.halt('hang');
    void put(file, fill('x', 1), 0).then(
      () => ran.push('write'),
      () => ran.push('write'),
    );
    void machine.clock.yield().then(() => ran.push('yield'));
    void syncing;
    await machine.advanceAndSettle(10_000);
    expect(ran).toEqual([]);
  });
});

describe('rot', () => {
  it('flips one bit for reads and for good', async () => {
    const { machine, file } = await machineWith('a', fill('\0', 2000));
    machine.flipBit('a', 8 * 1000 + 3);
    const into = Buffer.alloc(1);
    file.read(into, 0, 1, 1000);
    expect(into[0]).toBe(8);
    const after = machine.crash(loseEverything);
    expect(after.contents('a')[1000]).toBe(8);
    after.flipBit('a', 8 * 1000 + 3);
    expect(after.contents('a').equals(Buffer.alloc(2000))).toBe(true);
    machine.damage('a', 1999, fill('x', 5));
    expect(machine.contents('a').subarray(1998).toString()).toBe('\0x');
  });
});
