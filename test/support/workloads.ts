/** Short runs of the engine that between them meet every kind of write: what the crash and fault tests take apart. */
import type { Workload } from './crash-states.js';

/** Larger than any workload: nothing rotates or folds unless a workload wants it. */
const QUIET = { shards: 1, segmentBytes: 1 << 20, checkpointRecords: 1_000_000 };

const append: Workload = {
  name: 'append',
  options: QUIET,
  async run(session) {
    await session.open();
    await session.put('a');
    await session.ledger.put(session.db, 'k', 'once', { idempotencyKey: 'only-once' });
    await session.ledger.insert(session.db, [
      { collection: 'c', key: 'b1', body: 1 },
      { collection: 'c', key: 'b2', body: { wide: 'y'.repeat(900) }, refs: ['#0'] },
      { collection: 'c', key: 'a', deleted: true },
    ]);
    // A frame of some eight sectors, any of which may be lost.
    await session.put('wide', 3200);
    // Nobody waits: groups gather while one is on its way.
    const racing = [session.put('r1'), session.put('r2', 1600), session.put('r3')];
    await Promise.resolve();
    racing.push(session.put('r4'), session.put('b1'));
    await Promise.all(racing);
    // Idle long enough for a mark.
    await session.pass(1000);
    await session.put('after-mark');
  },
};

const rotation: Workload = {
  name: 'rotation and sealing',
  options: { ...QUIET, segmentBytes: 1500 },
  async run(session) {
    await session.open();
    for (let i = 0; i < 8; i++) await session.put(`k${i % 5}`, 250);
    await session.ledger.put(session.db, 'key', 'once', { idempotencyKey: 'across-segments' });
    const racing = Array.from({ length: 6 }, (_, i) => session.put(`r${i}`, 400));
    await Promise.all(racing);
    await session.pass(1000);
    await session.db.close();
  },
};

const checkpoint: Workload = {
  name: 'checkpoint',
  options: { ...QUIET, segmentBytes: 4000 },
  async run(session) {
    await session.open();
    for (let i = 0; i < 6; i++) await session.put(`k${i}`);
    await session.db.checkpoint();
    for (let i = 3; i < 9; i++) await session.put(`k${i}`);
    // Writes go on while it folds.
    const folding = session.db.checkpoint();
    const racing = [session.put('during', 300), session.put('k0')];
    await Promise.all([folding, ...racing]);
    await session.db.root(1);
    await session.put('last');
    await session.db.checkpoint();
  },
};

const folding: Workload = {
  name: 'folding by itself',
  options: { ...QUIET, segmentBytes: 3000, checkpointRecords: 4 },
  async run(session) {
    await session.open();
    for (let i = 0; i < 14; i++) await session.put(`k${i % 6}`, 100);
    await session.pass(2000);
    await session.db.close();
  },
};

const closing: Workload = {
  name: 'close and open',
  options: QUIET,
  async run(session) {
    await session.open();
    for (let i = 0; i < 4; i++) await session.put(`k${i}`);
    const racing = [session.put('x'), session.put('y')];
    await session.db.close();
    await Promise.all(racing);
    await session.open();
    await session.put('k1');
    await session.ledger.put(session.db, 'key', 'once', { idempotencyKey: 'after-reopen' });
    await session.db.close();
    await session.open();
    await session.db.close();
  },
};

const shards: Workload = {
  name: 'three shards at once',
  options: { shards: 3, segmentBytes: 2000, checkpointRecords: 8 },
  async run(session) {
    await session.open();
    for (let round = 0; round < 4; round++) {
      await Promise.all(Array.from({ length: 6 }, (_, i) => session.put(`k${(round * 5 + i) % 9}`, 150)));
    }
    await session.db.checkpoint();
    await session.put('last');
    await session.db.close();
  },
};

/** Nobody uses the time of a flight: after the first few, the whole way to the disk and back is one turn. */
const blocking: Workload = {
  name: 'blocking',
  blocking: true,
  options: { ...QUIET, segmentBytes: 6000 },
  async run(session) {
    await session.open();
    for (let i = 0; i < 4; i++) await session.put(`quiet${i}`, 1);
    await session.put('alone');
    await session.ledger.put(session.db, 'k', 'once', { idempotencyKey: 'only-once' });
    // A frame of some sectors, any of which may be lost.
    await session.put('wide', 3200);
    await Promise.all([session.put('r1'), session.put('r2', 600), session.put('alone')]);
    // Idle long enough for a mark.
    await session.pass(1000);
    await session.put('after-mark', 1500);
    await session.put('next segment');
    await session.put('in it');
    await session.db.close();
  },
};

export const WORKLOADS: readonly Workload[] = [append, rotation, checkpoint, folding, closing, shards, blocking];
