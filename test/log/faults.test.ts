/** Every call to the disk fails once, in every way a disk fails: nothing false is acknowledged, reads stay up, work goes on after a reopen. */
import { describe, expect, it } from 'vitest';
import { LogFailure, ShardLog } from '../../engine/log/index.js';
import { loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { type Fault, isMutation } from '../../engine/platform/memory-faults.js';
import { Ledger, logOptions } from './support.js';

const FAULTS: readonly Fault[] = [
  { kind: 'error', code: 'EIO' },
  { kind: 'failed-sync', keeps: 'none' },
  { kind: 'failed-sync', keeps: 'some' },
  { kind: 'short', bytes: 0 },
  { kind: 'short', bytes: 60 },
];

async function appendAll(log: ShardLog, ledger: Ledger, groups: number): Promise<LogFailure | undefined> {
  for (let i = 0; i < groups; i++) {
    try {
      await ledger.append(log, i % 3 === 2 ? [3, 2, 2, 3] : [1, 1]);
    } catch (error) {
      if (error instanceof LogFailure) return error;
      throw error;
    }
  }
  return undefined;
}

describe('a failing disk', () => {
  it('never makes the log acknowledge what it loses, at any operation, and work goes on after a reopen', { timeout: 120_000 }, async () => {
    const probe = new MemoryPlatform({ seed: 1, trace: true });
    const probeLog = await ShardLog.open(logOptions(probe));
    await appendAll(probeLog, new Ledger(), 8);
    await probeLog.sealed();
    const targets = probe.trace.filter(isMutation);
    let failures = 0;
    for (const target of targets) {
      for (const fault of FAULTS) {
        if (fault.kind === 'failed-sync' && target.kind !== 'sync' && target.kind !== 'syncDirectory') continue;
        if (fault.kind === 'short' && target.kind !== 'write') continue;
        const machine = new MemoryPlatform({ seed: 1 });
        machine.failAt(target.index, fault);
        const ledger = new Ledger();
        const log = await ShardLog.open(logOptions(machine));
        const failure = await appendAll(log, ledger, 8);
        await log.sealed();
        if (failure !== undefined) {
          failures++;
          const durable = ledger.acknowledged;
          expect(log.durableSeq).toBe(durable);
          for (let seq = 1; seq <= durable; seq++) if (seq !== 0) log.read(seq);
          await expect(log.append(log.beginGroup())).rejects.toBeInstanceOf(LogFailure);
          const { recovered } = await log.reopen(durable);
          if (failure.reachedDisk === 'no') expect(recovered).toEqual([]);
          expect(log.durableSeq).toBe(recovered.at(-1)?.lastSeq ?? durable);
          ledger.check(log);
          ledger.cutTo(log.durableSeq);
          for (const chooser of [loseEverything, randomChooser(target.index)]) {
            ledger.check(await ShardLog.open(logOptions(machine.crash(chooser))));
          }
        }
        expect(await appendAll(log, ledger, 4)).toBeUndefined();
        ledger.check(log);
        await log.sealed();
        ledger.check(await ShardLog.open(logOptions(machine.crash(loseEverything))));
        await log.close();
        const reopened = await ShardLog.open(logOptions(machine));
        ledger.check(reopened);
        expect(reopened.findings.filter((finding) => finding.kind === 'damaged' || finding.kind === 'missing')).toEqual([]);
      }
    }
    console.log(`${targets.length} operations, ${failures} failed appends`);
    expect(failures).toBeGreaterThan(30);
  });

  it('stops on a full disk and goes on when there is room again', async () => {
    for (let capacity = 200; capacity < 6000; capacity += 137) {
      const machine = new MemoryPlatform({ seed: 1, capacityBytes: capacity });
      const ledger = new Ledger();
      const log = await ShardLog.open(logOptions(machine));
      const failure = await appendAll(log, ledger, 20);
      expect(failure?.reachedDisk).toBe('no');
      const durable = ledger.acknowledged;
      ledger.cutTo(durable);
      const { recovered } = await log.reopen(durable);
      expect(recovered).toEqual([]);
      machine.capacityBytes = Number.POSITIVE_INFINITY;
      await ledger.append(log, [2]);
      ledger.check(log);
      ledger.check(await ShardLog.open(logOptions(machine.crash(loseEverything))));
      await log.close();
    }
  });

  it('keeps failing reopens harmless until one works', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const ledger = new Ledger();
    const log = await ShardLog.open(logOptions(machine));
    await ledger.append(log, [2]);
    machine.failOn('sync', { kind: 'failed-sync', keeps: 'none' }, { times: 3 });
    await expect(ledger.append(log, [1])).rejects.toMatchObject({ stage: 'sync', reachedDisk: 'maybe' });
    await expect(log.reopen(2)).rejects.toBeInstanceOf(LogFailure);
    await expect(log.reopen(2)).rejects.toBeInstanceOf(LogFailure);
    expect(log.read(2)?.seq).toBe(2);
    const { recovered } = await log.reopen(2);
    expect(recovered.map((batch) => batch.lastSeq)).toEqual([3]);
    ledger.check(await ShardLog.open(logOptions(machine.crash(loseEverything))));
    await log.close();
  });
});
