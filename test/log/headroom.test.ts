/** Zeros ahead of the last frame: they spare most frames a change of the file's length, and nobody takes them for anything. */
import { describe, expect, it } from 'vitest';
import { ShardLog } from '../../engine/log/index.js';
import { keepEverything, loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation, type Operation } from '../../engine/platform/memory-faults.js';
import { DIRECTORY, Ledger, logOptions } from './support.js';

const SEED = Number(process.env['SEED'] ?? 1);
const FIRST = `${DIRECTORY}/000000000001-0000.seg`;
const LARGE = { segmentBytes: 1 << 20 };

function sizeOf(machine: MemoryPlatform, path = FIRST): number {
  const file = machine.files.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

async function opened(
  groups: number,
  bodyBytes?: number,
  options = LARGE,
): Promise<{ machine: MemoryPlatform; log: ShardLog; ledger: Ledger }> {
  const machine = new MemoryPlatform({ seed: SEED, trace: true });
  const log = await ShardLog.open(logOptions(machine, options));
  const ledger = new Ledger();
  for (let i = 0; i < groups; i++) await ledger.append(log, [1], bodyBytes);
  return { machine, log, ledger };
}

function changesOf(machine: MemoryPlatform): Operation[] {
  return machine.faults.trace.filter((operation) => isMutation(operation) && operation.path === FIRST);
}

describe('an active segment', () => {
  it('keeps its length through most small groups, each still one write and one sync', async () => {
    const { machine, log, ledger } = await opened(4);
    let [grown, written] = [0, 0];
    for (let i = 0; i < 200; i++) {
      const [size, before] = [sizeOf(machine), changesOf(machine).length];
      await ledger.append(log, [1]);
      if (sizeOf(machine) !== size) grown++;
      else written += changesOf(machine).length - before;
      expect(changesOf(machine).at(-1)?.kind).toBe('sync');
    }
    expect(grown).toBeLessThan(25);
    expect(written).toBe((200 - grown) * 2);
    ledger.check(log);
  });

  it('is not filled behind large groups, whatever came before', async () => {
    for (const small of [0, 3]) {
      const { machine, log, ledger } = await opened(small, undefined, { segmentBytes: 64 << 20 });
      if (small === 0) await ledger.append(log, [1]);
      const before = changesOf(machine).length;
      for (let i = 0; i < 8; i++) await ledger.append(log, [1], 100_000);
      expect(changesOf(machine).length - before).toBe(2 * 8);
    }
  });

  it('ends where its last frame does, then its footer, once it is sealed', async () => {
    const { machine, log, ledger } = await opened(20);
    const [active] = log.segments();
    expect(sizeOf(machine)).toBeGreaterThan(active!.bytes);
    await log.close();
    const again = await ShardLog.open(logOptions(machine, LARGE));
    expect(again.findings).toEqual([]);
    const [sealed] = again.segments();
    expect(sealed).toMatchObject({ sealed: true, bytes: sizeOf(machine) });
    ledger.check(again);
  });

  it('has no torn tail where only zeros follow after a crash', async () => {
    const { machine, ledger } = await opened(20);
    for (const left of [machine.killProcess(), machine.crash(loseEverything)]) {
      const log = await ShardLog.open(logOptions(left, LARGE));
      expect(log.findings).toEqual([]);
      ledger.check(log);
    }
  });

  it('loses nothing acknowledged at any operation, whatever of frames and zeros reached the disk', async () => {
    const machine = new MemoryPlatform({ seed: SEED });
    const moments: { left: MemoryPlatform; ledger: Ledger }[] = [];
    const log = await ShardLog.open(logOptions(machine, LARGE));
    const ledger = new Ledger();
    for (let i = 0; i < 3; i++) await ledger.append(log, [1]);
    machine.faults.failWhen(
      (operation) => {
        if (isMutation(operation)) moments.push({ left: machine.clone(), ledger: ledger.copy() });
        return false;
      },
      { kind: 'error', code: 'EIO' },
    );
    for (let i = 0; i < 16; i++) await ledger.append(log, [1]);
    await log.close();
    expect(moments.length).toBeGreaterThan(35);
    for (const [i, moment] of moments.entries()) {
      const choosers = [
        loseEverything,
        keepEverything,
        ...Array.from({ length: 2 }, (_, nth) => randomChooser(SEED * 10_000 + i * 20 + nth)),
      ];
      for (const chooser of choosers) {
        const left = moment.left.crash(chooser, { tear: [1, 100, 511] });
        const there = moment.ledger.copy();
        const recovered = await ShardLog.open(logOptions(left, LARGE));
        expect(recovered.findings.filter(({ kind }) => kind !== 'torn-tail' && kind !== 'torn-footer')).toEqual([]);
        there.check(recovered);
        there.cutTo(recovered.durableSeq);
        for (let more = 0; more < 5; more++) await there.append(recovered, [1]);
        await recovered.close();
        const clean = await ShardLog.open(logOptions(left, LARGE));
        expect(clean.findings).toEqual([]);
        there.check(clean);
      }
    }
  });

  it.each([
    ['no room', { kind: 'error', code: 'ENOSPC' }],
    ['room for some', { kind: 'short', bytes: 100 }],
  ] as const)('takes a frame where there is %s for zeros', async (_, fault) => {
    const { machine, log, ledger } = await opened(3);
    machine.faults.failWhen(isFilling, fault, { times: 3 });
    for (let i = 0; i < 6; i++) await ledger.append(log, [1]);
    ledger.check(log);
    await log.close();
    const again = await ShardLog.open(logOptions(machine.crash(loseEverything), LARGE));
    expect(again.findings).toEqual([]);
    ledger.check(again);
  });

  it('stops where zeros cannot be written for another reason, and may have the frame', async () => {
    const { machine, log, ledger } = await opened(3);
    machine.faults.failWhen(isFilling, { kind: 'error', code: 'EIO' });
    await expect(ledger.append(log, [1])).rejects.toMatchObject({ stage: 'write', reachedDisk: 'maybe' });
    expect(log.failure).toBeDefined();
    await log.reopen();
    ledger.check(log);
    await ledger.append(log, [1]);
    ledger.check(log);
  });
});

/** Frames of one small record are shorter. */
function isFilling({ kind, length }: Operation): boolean {
  return kind === 'write' && length > 700;
}
