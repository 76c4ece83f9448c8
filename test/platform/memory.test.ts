/** The simulated machine apart from its disk: time, SQLite, repetition by seed. */
import { describe, expect, it } from 'vitest';
import { loseEverything, randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { everyCrash, put } from './disk-support.js';

describe('simulated time', () => {
  it('stands still until it is moved, and jumps for one node alone', () => {
    const machine = new MemoryPlatform();
    const other = new MemoryPlatform({ time: machine.clock.time });
    const start = machine.clock.nowMicros();
    expect(machine.clock.nowMicros()).toBe(start);
    machine.advance(1500);
    expect(machine.clock.nowMicros()).toBe(start + 1500);
    expect(other.clock.nowMicros()).toBe(start + 1500);
    const monotonic = machine.clock.monotonicMs();
    machine.clock.jump(-1_000_000);
    expect(machine.clock.nowMicros()).toBe(start + 1500 - 1_000_000);
    expect(other.clock.nowMicros()).toBe(start + 1500);
    expect(machine.clock.monotonicMs()).toBe(monotonic);
    expect(machine.crash(loseEverything).clock.nowMicros()).toBe(machine.clock.nowMicros());
  });

  it('runs timers in order, each at its moment, those that timers set included', () => {
    const machine = new MemoryPlatform();
    const start = machine.clock.nowMicros();
    const ran: string[] = [];
    const note = (name: string) => (): void => void ran.push(`${name}@${machine.clock.nowMicros() - start}`);
    machine.clock.after(3, note('c'));
    machine.clock.after(1, () => {
      note('a')();
      machine.clock.after(1, note('b'));
    });
    machine.clock.after(1, note('a2'));
    const cancel = machine.clock.after(2, note('never'));
    machine.clock.after(50, note('later'));
    cancel();
    machine.advance(10_000);
    expect(ran).toEqual(['a@1000', 'a2@1000', 'b@2000', 'c@3000']);
    expect(machine.clock.nowMicros() - start).toBe(10_000);
    expect(machine.clock.time.pendingTimers).toBe(1);
  });

  it('can pass by itself with every look at it', () => {
    const machine = new MemoryPlatform({ autoAdvanceMicros: 5 });
    const start = machine.clock.nowMicros();
    expect(machine.clock.nowMicros()).toBe(start + 5);
    expect(machine.clock.nowMicros()).toBe(start + 10);
  });
});

describe('a SQLite database on the simulated disk', () => {
  async function machineWithRows(...rows: string[]): Promise<MemoryPlatform> {
    const machine = new MemoryPlatform();
    for (const row of rows) {
      const database = machine.files.openSqlite('catalog.sqlite');
      database.exec('CREATE TABLE IF NOT EXISTS t (name TEXT)');
      database.prepare('INSERT INTO t VALUES (?)').run(row);
      database.close();
    }
    return machine;
  }
  const rows = (machine: MemoryPlatform): string => {
    if (!machine.files.exists('catalog.sqlite')) return 'gone';
    const database = machine.files.openSqlite('catalog.sqlite');
    const names = database.prepare('SELECT name FROM t ORDER BY rowid').pluck().all();
    database.close();
    return names.join(' ');
  };

  it('is after a power cut as last saved, as saved before, or gone', async () => {
    const machine = await machineWithRows('one', 'two');
    expect(everyCrash(machine).map(rows).sort()).toEqual(['gone', 'one', 'one two']);
  });

  it('keeps what an open connection has committed, and nothing else, when the process dies', async () => {
    const machine = await machineWithRows('one');
    const database = machine.files.openSqlite('catalog.sqlite');
    database.prepare('INSERT INTO t VALUES (?)').run('committed');
    expect(rows(machine.killProcess())).toBe('one committed');
    expect(everyCrash(machine).map(rows).sort()).toEqual(['gone', 'one', 'one committed']);
    database.exec('BEGIN');
    database.prepare('INSERT INTO t VALUES (?)').run('open');
    expect(rows(machine.killProcess())).toBe('one committed');
    database.close();
    expect(rows(machine)).toBe('one committed');
  });
});

it('does the same again from the same seed', async () => {
  const story = async (seed: number): Promise<string> => {
    const machine = new MemoryPlatform({ seed, trace: true });
    const file = machine.files.open('a', 'create');
    for (let i = 0; i < 20; i++) await put(file, Buffer.from(machine.randomBytes(300)), i * 290);
    const after = machine.crash(randomChooser(seed), { tear: [100] });
    const content = after.files.exists('a') ? after.contents('a').toString('hex') : 'gone';
    return `${content} ${Buffer.from(after.randomBytes(8)).toString('hex')} ${machine.trace.length}`;
  };
  expect(await story(5)).toBe(await story(5));
  expect(await story(5)).not.toBe(await story(6));
});
