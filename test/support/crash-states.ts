/**
 * Runs a workload once and stops at every moment that matters: before each operation that changes the disk,
 * and at each acknowledgement. From every such moment it lets the power go in every way (or in as many random
 * ways as asked), lets the machine come back, and holds what is there against what was told.
 *
 *   workload ──(every operation, every acknowledgement)──▶ moment ──(every loss)──▶ machine ──▶ open, check
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Database, OpenOptions } from '../../engine/database.js';
import { openWith } from '../../engine/index.js';
import { type Chooser, everyChooser, keepEverything, loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { settle } from '../../engine/platform/memory-clock.js';
import { isMutation, type Operation } from '../../engine/platform/memory-faults.js';
import { checkAgainst, describe, Ledger, type LedgerState, readAll } from './ledger.js';

/** One moment of a run: the machine as it stands, and what has been told so far. */
export interface Moment {
  readonly label: string;
  readonly machine: MemoryPlatform;
  readonly state: LedgerState;
}

export interface Workload {
  readonly name: string;
  readonly options: OpenOptions;
  /** On a machine whose writes and syncs can block. */
  readonly blocking?: boolean;
  run(session: Session): Promise<void>;
}

export class Session {
  readonly platform: MemoryPlatform;
  readonly options: OpenOptions;
  readonly ledger: Ledger;
  db!: Database;

  constructor(platform: MemoryPlatform, options: OpenOptions, ledger: Ledger) {
    this.platform = platform;
    this.options = options;
    this.ledger = ledger;
  }

  async open(): Promise<void> {
    this.db = await openWith(this.platform, this.options);
  }

  /** Lets timers run: idle marks, retries. */
  pass(milliseconds: number): Promise<void> {
    return this.platform.advanceAndSettle(milliseconds * 1000);
  }

  put(key: string, bytes = 20): Promise<void> {
    return this.ledger.put(this.db, key, `${key}:${'x'.repeat(bytes)}`);
  }
}

/** Every moment of a workload at which a crash may tell a difference. */
export async function momentsOf(workload: Workload, seed = 1): Promise<Moment[]> {
  const platform = new MemoryPlatform({ seed, blocking: workload.blocking ?? false });
  const moments: Moment[] = [];
  const note = (label: string): void => {
    moments.push({ label, machine: platform.clone(), state: ledger.state });
  };
  const ledger = new Ledger(() => note(`acknowledged, before operation ${platform.ops}`));
  platform.faults.failWhen(
    (operation: Operation) => {
      if (isMutation(operation))
        note(`before ${operation.index}: ${operation.kind} ${operation.path} at ${operation.position} of ${operation.length}`);
      return false;
    },
    { kind: 'error', code: 'EIO' },
  );
  await workload.run(new Session(platform, workload.options, ledger));
  await settle();
  platform.clearFaults();
  note('at the end');
  return moments;
}

export interface CrashBudget {
  /** Every loss pattern where no more sectors than this are unsynced. */
  readonly everyUpToSectors: number;
  /** At most so many states of one moment. */
  readonly statesPerMoment: number;
  /** Random ones where there are more. */
  readonly randomPerMoment: number;
  /** How many of the recoveries are themselves crashed, at every operation: one in so many. */
  readonly nestedOneIn: number;
}

export interface CrashStats {
  moments: number;
  states: number;
  nested: number;
}

/** Crashes one workload everywhere. */
export async function crashEverywhere(workload: Workload, budget: CrashBudget, seed = 1): Promise<CrashStats> {
  const stats: CrashStats = { moments: 0, states: 0, nested: 0 };
  const seen = new Set<string>();
  for (const moment of await momentsOf(workload, seed)) {
    stats.moments++;
    for (const { machine, how } of crashesOf(moment, budget, seed + stats.moments)) {
      const state = `${digest(machine)} ${moment.state.map((entry) => (entry.result ? 1 : 0)).join('')}`;
      if (seen.has(state)) continue;
      seen.add(state);
      stats.states++;
      try {
        const nested = stats.states % budget.nestedOneIn === 0;
        await checkRecovery(machine, workload.options, moment.state, nested ? (count) => (stats.nested += count) : undefined);
      } catch (error) {
        throw new Error(
          `${workload.name}, seed ${seed}, crash ${moment.label}, ${how}: ${error instanceof Error ? error.message : String(error)}`,
          { cause: error },
        );
      }
    }
  }
  return stats;
}

function* crashesOf(moment: Moment, budget: CrashBudget, seed: number): Generator<{ machine: MemoryPlatform; how: string }> {
  const { machine } = moment;
  const tear = [1, 8, 100, 511];
  yield { machine: machine.killProcess(), how: 'killed' };
  const unsynced = machine.pendingSectors();
  if (unsynced <= budget.everyUpToSectors) {
    let states = 0;
    for (const chooser of everyChooser()) {
      if (states++ >= budget.statesPerMoment) break;
      const next = machine.crash(chooser);
      yield { machine: next, how: `answers ${chooser.answers.join()}` };
    }
    if (unsynced === 0 && machine.pendingEntries() === 0) return;
  } else {
    yield { machine: machine.crash(loseEverything), how: 'all unsynced lost' };
    yield { machine: machine.crash(keepEverything), how: 'all unsynced kept' };
  }
  for (let i = 0; i < budget.randomPerMoment; i++) {
    const chosen = seed * 1000 + i;
    yield { machine: machine.crash(randomChooser(chosen), { tear }), how: `random ${chosen}` };
  }
}

/** Opens what a crash left, checks it, cuts the power again before anything else is written, checks it again, and goes on working. */
export async function checkRecovery(
  machine: MemoryPlatform,
  options: OpenOptions,
  state: LedgerState,
  nested?: (count: number) => void,
): Promise<void> {
  if (nested !== undefined) nested(await crashRecovery(machine.clone(), options, state));
  const db = await openWith(machine, options);
  // What is served after recovery must not depend on luck any more.
  const again = machine.crash(loseEverything);
  const found = await checkAgainst(db, state);
  const second = await openWith(again, options);
  assert.deepEqual(await checkAgainst(second, state), found, 'what was recovered and served survives the next power cut');
  await second.close();
  await worksOn(machine, db, options, state, found);
}

/** I8: takes writes, repeated ones too, closes, opens, and has it all. */
async function worksOn(
  machine: MemoryPlatform,
  db: Database,
  options: OpenOptions,
  state: LedgerState,
  found: readonly string[],
): Promise<void> {
  machine.advance(1000);
  const header = await db.put('after', 'crash', 'work goes on');
  for (const { items, options: insertOptions, result } of state) {
    if (insertOptions.idempotencyKey === undefined) continue;
    const answer = await db.insert(items, insertOptions);
    const there = answer.records.every((record) => found.some((line) => line.startsWith(record.id)));
    assert.equal(answer.replayed, there, 'a repeated key is answered again, or carried out, never both');
    if (result !== undefined)
      assert.deepEqual(
        answer.records.map((record) => record.id),
        result.records.map((record) => record.id),
        'the first answer again',
      );
  }
  await db.close();
  const reopened = await openWith(machine.crash(loseEverything), options);
  const all = readAll(reopened).flat();
  assert.ok(
    all.some((record) => record.id === header.id),
    'what was inserted after the crash is there',
  );
  const lines = all.map(describe);
  assert.deepEqual(
    found.filter((line) => !lines.includes(line)),
    [],
    'what was recovered is still there after going on',
  );
  await reopened.close();
}

/** Crashes the recovery itself before each of its changes, losing everything, nothing, or something. */
async function crashRecovery(machine: MemoryPlatform, options: OpenOptions, state: LedgerState): Promise<number> {
  const moments: MemoryPlatform[] = [];
  machine.faults.failWhen(
    (operation) => {
      if (isMutation(operation)) moments.push(machine.clone());
      return false;
    },
    { kind: 'error', code: 'EIO' },
  );
  await openWith(machine, options);
  machine.clearFaults();
  moments.push(machine.clone());
  let count = 0;
  const choosers: Chooser[] = [loseEverything, keepEverything, randomChooser(moments.length), randomChooser(moments.length + 1000)];
  for (const moment of moments) {
    for (const chooser of choosers) {
      const db = await openWith(moment.crash(chooser), options);
      await checkAgainst(db, state);
      count++;
    }
  }
  return count;
}

/** Names the disk's content, so that no state is checked twice. */
function digest(machine: MemoryPlatform): string {
  const hash = createHash('sha1');
  for (const { path } of machine.fileList()) hash.update(`${path}\0`).update(machine.contents(path)).update('\0');
  return hash.digest('hex');
}
