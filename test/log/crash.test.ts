/** Crashes at every operation of a workload that appends, rotates, seals, marks, closes and reopens; every loss pattern where few sectors are unsynced. */
import { describe, expect, it } from 'vitest';
import { ShardLog } from '../../engine/log/index.js';
import { type Chooser, everyChooser, keepEverything, loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation } from '../../engine/platform/memory-faults.js';
import { Ledger, logOptions } from './support.js';

interface Moment {
  readonly label: string;
  readonly machine: MemoryPlatform;
  readonly ledger: Ledger;
}

type Step = 'append' | 'large' | 'mark' | 'sealed' | 'reopen' | 'kill';

/** Runs the steps once and keeps the machine as it stood before every operation that changes the disk. */
async function momentsOf(steps: readonly Step[], start = new MemoryPlatform({ seed: 1 }), ledger = new Ledger()): Promise<Moment[]> {
  const moments: Moment[] = [];
  let machine = start;
  const watch = (): void =>
    machine.faults.failWhen(
      (operation) => {
        if (isMutation(operation))
          moments.push({
            label: `${operation.kind} ${operation.path} at ${operation.position}`,
            machine: machine.clone(),
            ledger: ledger.copy(),
          });
        return false;
      },
      { kind: 'error', code: 'EIO' },
    );
  watch();
  let log = await ShardLog.open(logOptions(machine));
  for (const [i, step] of steps.entries()) {
    if (step === 'append') await ledger.append(log, i % 3 === 0 ? [2, 0, 1] : [1]);
    else if (step === 'large') await ledger.append(log, [3, 2, 2, 3]);
    else if (step === 'mark') await log.mark();
    else if (step === 'sealed') await log.sealed();
    else if (step === 'reopen') {
      await log.close();
      log = await ShardLog.open(logOptions(machine));
    } else {
      machine = machine.killProcess();
      watch();
      log = await ShardLog.open(logOptions(machine));
    }
    moments.push({ label: `after step ${i}: ${step}`, machine: machine.clone(), ledger: ledger.copy() });
  }
  await log.close();
  return moments;
}

const EVERY_UP_TO_SECTORS = 8;
const MOST_STATES = 300;

function* crashes(machine: MemoryPlatform, seed: number, random: number): Generator<MemoryPlatform> {
  yield machine.killProcess();
  if (machine.pendingSectors() + machine.pendingEntries() <= EVERY_UP_TO_SECTORS) {
    let states = 0;
    for (const chooser of everyChooser()) {
      yield machine.crash(chooser);
      if (++states >= MOST_STATES) break;
    }
    return;
  }
  const choosers: Chooser[] = [loseEverything, keepEverything, ...Array.from({ length: random }, (_, i) => randomChooser(seed * 1000 + i))];
  for (const chooser of choosers) yield machine.crash(chooser, { tear: [1, 100, 511] });
}

/** Opens, checks, cuts the power again at once, checks that nothing served is gone, goes on working, and checks that too. */
async function checkRecovery(machine: MemoryPlatform, before: Ledger, seed: number): Promise<void> {
  const ledger = before.copy();
  const log = await ShardLog.open(logOptions(machine));
  expect(log.findings.filter((finding) => finding.kind !== 'torn-tail' && finding.kind !== 'torn-footer')).toEqual([]);
  ledger.check(log);
  const served = log.durableSeq;
  ledger.cutTo(served);
  for (const chooser of [loseEverything, randomChooser(seed)]) {
    const again = await ShardLog.open(logOptions(machine.crash(chooser)));
    expect(again.durableSeq).toBe(served);
    ledger.check(again);
  }
  await ledger.append(log, [1, 1]);
  await log.sealed();
  ledger.check(log);
  const last = await ShardLog.open(logOptions(machine.crash(loseEverything)));
  ledger.check(last);
  await last.close();
  await log.close();
  const clean = await ShardLog.open(logOptions(machine));
  expect(clean.findings).toEqual([]);
  ledger.check(clean);
}

async function crashEverywhere(moments: readonly Moment[], random: number): Promise<number> {
  let states = 0;
  for (const [i, moment] of moments.entries()) {
    let variant = 0;
    for (const machine of crashes(moment.machine, i + 1, random)) {
      states++;
      try {
        await checkRecovery(machine, moment.ledger, i + 1);
      } catch (error) {
        throw new Error(`moment ${i} (${moment.label}), crash ${variant}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
      variant++;
    }
  }
  return states;
}

describe('a power cut', () => {
  it('loses nothing acknowledged at any operation of appending, rotating and sealing', { timeout: 120_000 }, async () => {
    const moments = await momentsOf(['append', 'append', 'large', 'append', 'append', 'large', 'append', 'mark', 'append', 'sealed']);
    const states = await crashEverywhere(moments, 4);
    console.log(`${moments.length} moments, ${states} states`);
    expect(states).toBeGreaterThan(200);
  });

  it('loses nothing acknowledged at any operation of closing and opening', { timeout: 120_000 }, async () => {
    const moments = await momentsOf(['append', 'reopen', 'append', 'append', 'reopen', 'reopen', 'large', 'append', 'reopen']);
    const states = await crashEverywhere(moments, 4);
    console.log(`${moments.length} moments, ${states} states`);
    expect(states).toBeGreaterThan(200);
  });

  it('loses nothing acknowledged at any operation of recovering from a killed process', { timeout: 120_000 }, async () => {
    const moments = await momentsOf([
      'append',
      'kill',
      'append',
      'append',
      'kill',
      'large',
      'mark',
      'kill',
      'append',
      'kill',
      'kill',
      'append',
    ]);
    const states = await crashEverywhere(moments, 4);
    console.log(`${moments.length} moments, ${states} states`);
    expect(states).toBeGreaterThan(200);
  });

  it('loses nothing acknowledged at any operation of recovering from another power cut', { timeout: 120_000 }, async () => {
    const first = (await momentsOf(['append', 'large', 'append'])).filter((_, i) => i % 5 === 4);
    let states = 0;
    for (const [i, moment] of first.entries()) {
      const crashed = moment.machine.crash(randomChooser(i + 77));
      const ledger = moment.ledger.copy();
      const log = await ShardLog.open(logOptions(crashed.clone()));
      ledger.cutTo(log.durableSeq);
      ledger.acknowledged = moment.ledger.acknowledged;
      states += await crashEverywhere(await momentsOf(['append'], crashed, ledger), 1);
    }
    console.log(`${states} states`);
    expect(states).toBeGreaterThan(100);
  });
});
