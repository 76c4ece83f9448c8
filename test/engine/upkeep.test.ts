/** A database that looks after its space by itself, what it does when that fails, and jobs that are held. */
import { describe, expect, it } from 'vitest';
import { type Database, type JobInfo, type OpenOptions, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { settle } from '../../engine/platform/memory-clock.js';

const MINUTE = 60e6;
const MB = 1024 * 1024;
const TREE = 'shards/0001/tree';

type UpkeepOptions = NonNullable<OpenOptions['upkeep']>;

async function opened(upkeep: UpkeepOptions = {}, more: OpenOptions = {}): Promise<{ machine: MemoryPlatform; db: Database }> {
  const machine = new MemoryPlatform({ seed: 3 });
  return { machine, db: await openWith(machine, { segmentBytes: 20_000, ...more, upkeep }) };
}

/** Lets time go by, and whatever begins then come to its end. */
async function minutes(machine: MemoryPlatform, db: Database, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    machine.advance(MINUTE);
    await settle();
    for (const { id } of db.jobs()) await db.jobEnded(id);
    await settle();
  }
}

/** Versions of `keys` entities, of 200 bytes; `round` after round. */
async function rounds(db: Database, count: number, keys = 20): Promise<void> {
  for (let round = 0; round < count; round++)
    for (let key = 0; key < keys; key++) await db.put('c', `k${key}`, { round, pad: 'x'.repeat(200) });
  // What is to be trimmed is looked for where there is a tree.
  await db.root(1);
}

const treeBytes = (machine: MemoryPlatform): number =>
  machine.fileList().reduce((sum, { path, size }) => (path.startsWith(`${TREE}/`) ? sum + size : sum), 0);

/** Held where it stops first. */
async function untilHeld(db: Database, id: string): Promise<JobInfo> {
  for (let last = -1; ; ) {
    await settle();
    const job = db.job(id)!;
    if (job.state === 'running' && job.progress === last) return job;
    last = job.progress;
  }
}

describe('a database left to itself', () => {
  it('gives back what retention lets go, and then rests', async () => {
    const { machine, db } = await opened();
    await rounds(db, 20);
    await db.setRetention('c', { keep: 'last', versions: 1 });
    await minutes(machine, db, 3);
    const jobs = db.jobs();
    expect(jobs.map(({ kind, state }) => `${kind} ${state}`)).toEqual(jobs.map(() => 'compaction done'));
    expect(jobs.at(-1)!.result).toMatchObject({ versionsDropped: 380 });
    expect(jobs.at(-1)!.result).not.toMatchObject({ segmentsRewritten: 0 });
    await minutes(machine, db, 5);
    expect(db.jobs()).toEqual(jobs);
    await db.close();
  });

  it('makes the tree anew where most of it goes, says so, and answers as before, reopened too', async () => {
    const { machine, db } = await opened({ automatic: false });
    await rounds(db, 20);
    await db.setRetention('c', { keep: 'last', versions: 1 });
    await db.root(1);
    const names = (): string[] => machine.files.list(TREE);
    const [files, before] = [names(), treeBytes(machine)];
    const ended = await db.jobEnded(db.compact().id);
    expect(ended?.result).toMatchObject({ treesCopied: 1, versionsDropped: 380 });
    expect(names().filter((name) => files.includes(name))).toEqual([]);
    expect(treeBytes(machine)).toBeLessThan(before / 4);
    expect(db.now().get('c', 'k7')?.body).toMatchObject({ round: 19 });
    // Where little goes, it is not.
    const left = names();
    await db.put('c', 'k7', { round: 20 });
    expect((await db.jobEnded(db.compact().id))?.result).toMatchObject({ treesCopied: 0, versionsDropped: 1 });
    expect(names()).toEqual(left);
    const { root, entries } = (await db.root(1))!;
    await db.close();
    const again = await openWith(machine.clone(), { upkeep: { automatic: false } });
    expect(again.now().get('c', 'k7')?.body).toMatchObject({ round: 20 });
    expect(await again.root(1)).toMatchObject({ root, entries });
    await again.close();
  });

  it('compacts the tree where nothing else is to be done, and then rests', { timeout: 60_000 }, async () => {
    const { machine, db } = await opened({ deadShare: 0.4 }, { segmentBytes: 64 * MB, checkpointRecords: 200 });
    for (let i = 0; i < 12_000; i += 250)
      await db.insert(Array.from({ length: 250 }, (_, j) => ({ collection: 'c', key: `k${((i + j) * 7919) % 2003}`, body: { n: i + j } })));
    await db.root(1);
    const before = treeBytes(machine);
    const root = await db.root(1);
    expect(before).toBeGreaterThan(2 * MB);
    await minutes(machine, db, 3);
    expect(db.jobs().map(({ state, result }) => [state, result])).toEqual([
      ['done', expect.objectContaining({ treesCopied: 1, segmentsRewritten: 0, bytesBefore: before, bytesAfter: treeBytes(machine) })],
    ]);
    expect(treeBytes(machine)).toBeLessThan(before / 2);
    expect(await db.root(1)).toEqual(root);
    await db.close();
    const again = await openWith(machine);
    expect(await again.root(1)).toMatchObject({ root: root!.root });
    await again.close();
  });

  it('goes by bytes too: the deadest segments go until fewer are dead', async () => {
    for (const deadBytes of [undefined, 100_000, 5000]) {
      const { machine, db } = await opened({ deadShare: 0.9, ...(deadBytes === undefined ? {} : { deadBytes }) });
      // One in twenty-one is to go, more of them in the middle.
      for (let round = 0; round < 30; round++) {
        await rounds(db, 1);
        for (let i = 0; i < (round > 10 && round < 20 ? 4 : 1); i++) await db.put('d', 'k', { round, i, pad: 'x'.repeat(200) });
      }
      await db.setRetention('d', { keep: 'last', versions: 1 });
      await minutes(machine, db, 1);
      const { result } = db.jobs()[0]! as unknown as { result: { versionsDropped: number; segmentsRewritten: number } };
      expect(result.versionsDropped).toBe(56);
      const { deadBytes: left, segments } = db.stats().shards[0]!;
      if (deadBytes === 5000) {
        expect(left).toBeLessThan(5000);
        expect(left).toBeGreaterThan(0);
        expect(result.segmentsRewritten).toBeGreaterThan(0);
        expect(result.segmentsRewritten).toBeLessThan(segments - 1);
      } else {
        expect(left).toBeGreaterThan(5000);
        expect(result.segmentsRewritten).toBe(0);
      }
      await db.close();
    }
  });

  it('tries again later and later what fails, and as before once it has succeeded', async () => {
    const { machine, db } = await opened();
    await rounds(db, 20);
    await db.setRetention('c', { keep: 'last', versions: 1 });
    machine.faults.failWhen(
      ({ kind, path }) => kind === 'write' && path.includes('-0001.seg'),
      { kind: 'error', code: 'ENOSPC' },
      { times: 100 },
    );
    const failedAt: number[] = [];
    for (let minute = 1; minute <= 130; minute++) {
      const known = db.jobs().length;
      await minutes(machine, db, 1);
      if (db.jobs().length > known) failedAt.push(minute);
    }
    expect(db.jobs().every(({ state, error }) => state === 'failed' && error?.includes('ENOSPC'))).toBe(true);
    // Twice as long after each, up to an hour.
    expect(failedAt).toEqual([1, 3, 7, 15, 31, 63, 123]);
    expect(db.upkeepFailure).toContain('ENOSPC');
    machine.faults.clear();
    await minutes(machine, db, 60);
    expect(db.jobs()[0]).toMatchObject({ state: 'done', result: { versionsDropped: 0, recordsDropped: expect.any(Number) } });
    expect(db.jobs()[0]).not.toMatchObject({ result: { recordsDropped: 0 } });
    expect(db.upkeepFailure).toBeUndefined();
    await rounds(db, 20);
    const known = db.jobs().length;
    await minutes(machine, db, 2);
    expect(db.jobs().length).toBeGreaterThan(known);
    await db.close();
  });

  it('tells and tries again where the tree could not be copied; the old one stands', { timeout: 60_000 }, async () => {
    const { machine, db } = await opened({ automatic: false }, { checkpointRecords: 50 });
    await rounds(db, 30);
    const root = await db.root(1);
    const files = machine.files.list(TREE);
    for (const kind of ['write', 'sync', 'rename'] as const) {
      const newest = Math.max(...machine.files.list(TREE).map((name) => Number.parseInt(name, 10)));
      machine.faults.failWhen(
        (operation) =>
          operation.kind === kind && operation.path.startsWith(TREE) && Number.parseInt(operation.path.slice(TREE.length + 1), 10) > newest,
        kind === 'sync' ? { kind: 'failed-sync' } : { kind: 'error', code: 'ENOSPC' },
      );
      const job = await db.jobEnded(db.compact({ force: true }).id);
      expect(job, kind).toMatchObject({ state: 'failed' });
      expect(db.upkeepFailure).toContain('compaction: ');
      machine.faults.clear();
      expect(machine.files.list(TREE), kind).toEqual(files);
      expect(await db.root(1), kind).toEqual(root);
    }
    expect(await db.jobEnded(db.compact({ force: true }).id)).toMatchObject({ state: 'done', result: { treesCopied: 1 } });
    expect(await db.root(1)).toEqual(root);
    expect(db.upkeepFailure).toBeUndefined();
    await db.close();
  });
});

describe('a job that is held', () => {
  async function compacting(): Promise<{ db: Database; id: string }> {
    const { db } = await opened({ automatic: false });
    await rounds(db, 20);
    await db.setRetention('c', { keep: 'last', versions: 1 });
    return { db, id: db.compact({ force: true }).id };
  }

  it('stops where it is, says so, and goes on to the end', async () => {
    const { db, id } = await compacting();
    const told: boolean[] = [];
    db.watchJob(id, ({ paused }) => {
      if (told.at(-1) !== paused) told.push(paused);
    });
    expect(db.pauseJob(id, true)).toMatchObject({ paused: true });
    const held = await untilHeld(db, id);
    expect(held).toMatchObject({ state: 'running', paused: true });
    expect(held.progress).toBeLessThan(1);
    // Everything else goes on; what waits for it waits on.
    await db.put('c', 'k0', { round: 99 });
    const next = db.compact();
    await settle();
    expect(db.job(next.id)).toMatchObject({ state: 'queued', paused: false });
    expect(db.pauseJob(id, false)).toMatchObject({ state: 'running', paused: false });
    expect(await db.jobEnded(id)).toMatchObject({ state: 'done', paused: false, result: { recordsDropped: 380 } });
    expect(await db.jobEnded(next.id)).toMatchObject({ state: 'done' });
    expect(told).toEqual([true, false]);
    // What has ended stays as it is.
    expect(db.pauseJob(id, true)).toMatchObject({ state: 'done', paused: false });
    expect(db.pauseJob('0000000000000000', true)).toBeUndefined();
    await db.close();
  });

  it('can be held in the middle of a copy of the tree, while folds go on', async () => {
    const { db } = await opened({ automatic: false }, { checkpointRecords: 50 });
    await rounds(db, 30);
    const { id } = db.compact({ force: true });
    db.pauseJob(id, true);
    await untilHeld(db, id);
    await rounds(db, 5);
    db.pauseJob(id, false);
    expect(await db.jobEnded(id)).toMatchObject({ state: 'done', result: { treesCopied: 1 } });
    expect(db.now().get('c', 'k3')?.body).toMatchObject({ round: 4 });
    await db.close();
  });

  it('is cancelled all the same, and does not keep a database from closing', async () => {
    const { db, id } = await compacting();
    db.pauseJob(id, true);
    await untilHeld(db, id);
    db.cancelJob(id);
    expect(await db.jobEnded(id)).toMatchObject({ state: 'cancelled', paused: false });
    const next = db.compact({ force: true });
    db.pauseJob(next.id, true);
    await untilHeld(db, next.id);
    await db.close();
    expect(db.job(next.id)).toMatchObject({ state: 'cancelled' });
  });
});
