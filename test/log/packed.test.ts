/** Logs whose segments compaction has packed: what reads find in them, what rot does, and what opening makes of a bad end. */
import { describe, expect, it } from 'vitest';
import { rewriteSegments, swapSegments } from '../../engine/compaction/index.js';
import { isVarveError } from '../../engine/errors.js';
import { BLOCK_BYTES } from '../../engine/format/footer.js';
import { BlockCache, ShardLog } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { FIRST_TIME, Ledger, logOptions, showRecord } from './support.js';

const MIB = 1024 * 1024;

const options = (machine: MemoryPlatform, cacheBytes = MIB) =>
  logOptions(machine, { segmentBytes: MIB, indexIntervalBytes: 4096, cache: new BlockCache(cacheBytes) });

interface Packed {
  readonly machine: MemoryPlatform;
  readonly ledger: Ledger;
  readonly path: string;
}

/** One packed segment of several blocks: events among the records, batches over several blocks, records larger than one. */
async function packedLog(isDropped: (seq: number) => boolean = () => false, compress = true): Promise<Packed> {
  const machine = new MemoryPlatform({ seed: 5 });
  const log = await ShardLog.open(options(machine));
  const ledger = new Ledger();
  for (let i = 0; i < 8; i++) await ledger.append(log, [3, 0, 20], 200);
  await ledger.append(log, [2, 0], BLOCK_BYTES + 100);
  await ledger.append(log, [200], 300);
  await log.roll();
  await log.sealed();
  const sources = [...log.segmentSet.all];
  const dropping = { isDropped, isErased: () => false };
  const { segment } = await rewriteSegments({
    context: log.context,
    sources,
    dropping,
    compactedThrough: 0,
    compress,
    pace: async () => {},
  });
  expect(await swapSegments(log, sources, segment)).toBe(true);
  expect(segment.packed).toBe(compress);
  await log.close();
  return { machine, ledger, path: segment.path };
}

function shown(log: ShardLog, seq: number): unknown {
  try {
    const record = log.read(seq);
    return record && showRecord(record);
  } catch (error) {
    if (isVarveError(error, 'CORRUPT')) return 'CORRUPT';
    throw error;
  }
}

function all(log: ShardLog, lastSeq: number): unknown[] {
  return Array.from({ length: lastSeq }, (_, i) => shown(log, i + 1));
}

describe('a packed segment', () => {
  it('gives back every record, from caches of any size and from none, and is searched by its table alone', async () => {
    const { machine, ledger } = await packedLog();
    for (const cacheBytes of [0, BLOCK_BYTES, 2 * BLOCK_BYTES, MIB]) {
      const log = await ShardLog.open(options(machine, cacheBytes));
      expect(log.read(ledger.lastSeq)?.seq).toBe(ledger.lastSeq);
      expect(log.segmentSet.all[0]?.index).toBeUndefined();
      for (let round = 0; round < 2; round++) ledger.check(log);
      expect(log.context.cache.stats.bytes).toBeLessThanOrEqual(cacheBytes);
      if (cacheBytes === MIB) expect(log.context.cache.stats.hits).toBeGreaterThan(ledger.lastSeq);
      await log.close();
    }
  });

  it('finds what little compaction left, however far apart', async () => {
    const isKept = (seq: number) => seq % 41 === 1 || seq > 230;
    const { machine, ledger } = await packedLog((seq) => !isKept(seq));
    const log = await ShardLog.open(options(machine));
    for (let seq = 1; seq <= ledger.lastSeq; seq++) {
      const isEvent = ledger.attempts.some((attempt) => attempt.isEvent && attempt.firstSeq === seq);
      expect(log.read(seq)?.seq).toBe(isKept(seq) && !isEvent ? seq : undefined);
    }
    await log.close();
  });

  it('finds every time where the same segment finds it unpacked', async () => {
    for (const isDropped of [() => false, (seq: number) => seq % 41 !== 1, (seq: number) => seq > 40]) {
      const packed = await packedLog(isDropped);
      const plain = await packedLog(isDropped, false);
      const [one, other] = [await ShardLog.open(options(packed.machine)), await ShardLog.open(options(plain.machine))];
      const left = all(one, one.durableSeq).flatMap((record, i) => (record === undefined ? [] : [i + 1]));
      const times = left.map((seq) => one.read(seq)?.time ?? 0);
      for (let time = FIRST_TIME - 5; time < FIRST_TIME + 10 * packed.ledger.lastSeq + 20; time += 5) {
        const { seq, nextSeq } = one.positionsAround(time);
        expect(seq, `at ${time - FIRST_TIME}`).toBe(other.positionAt(time));
        // The next record is the first that is left with a later time.
        expect(nextSeq, `at ${time - FIRST_TIME}`).toBe(left[times.findIndex((other) => other > time)] ?? one.durableSeq + 1);
      }
      await one.close();
      await other.close();
    }
  });

  it('tells the truth or CORRUPT whatever bit of it rots, read from a footer or from the frames', { timeout: 60_000 }, async () => {
    const { machine, ledger, path } = await packedLog();
    const whole = await ShardLog.open(options(machine.clone()));
    const truth = all(whole, ledger.lastSeq);
    const bits = machine.contents(path).length * 8;
    let corrupt = 0;
    let found = 0;
    for (let bit = 8 * 128 + 3; bit < bits; bit += 601) {
      const damaged = machine.clone();
      damaged.flipBit(path, bit);
      // Every other one without its trailer: then the frames are read.
      if (bit % 2 === 0) damaged.flipBit(path, bits - 100);
      const log = await ShardLog.open(options(damaged));
      for (const [i, got] of all(log, ledger.lastSeq).entries()) {
        if (got === 'CORRUPT') corrupt++;
        else {
          found++;
          expect(got, `bit ${bit}, seq ${i + 1}`).toEqual(truth[i]);
        }
      }
      await log.close();
    }
    expect(corrupt).toBeGreaterThan(0);
    // A block takes at most its own records with it.
    expect(found).toBeGreaterThan(corrupt * 4);
  });

  it('is sealed again, packed, where its end is bad', async () => {
    const { machine, ledger, path } = await packedLog();
    const before = machine.contents(path);
    machine.flipBit(path, before.length * 8 - 100);
    const log = await ShardLog.open(options(machine));
    ledger.check(log);
    await log.sealed();
    expect(machine.contents(path).equals(before)).toBe(true);
    await log.close();
    const again = await ShardLog.open(options(machine));
    ledger.check(again);
    expect(again.findings).toEqual([]);
    await again.close();
  });
});
