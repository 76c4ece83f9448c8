/** Reads by way of cached blocks: what they find, and that nothing bad gets through them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { crc32 } from '../../engine/format/checksum.js';
import { BLOCK_BYTES, BLOCK_ENTRY_BYTES } from '../../engine/format/footer.js';
import { hex } from '../../engine/format/hash.js';
import { storedRecordHash } from '../../engine/format/record-hash.js';
import { BlockTable, NO_START } from '../../engine/log/block-table.js';
import { BodyDigest } from '../../engine/log/body-digest.js';
import { BlockCache, ShardLog } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { StoredVersion } from '../../engine/record-view.js';
import { Erasures } from '../../engine/retention/erasures.js';
import { MAX_SEQ, type ShardId } from '../../engine/types.js';
import { Ledger, logOptions, showRecord } from './support.js';

const MIB = 1024 * 1024;

/** About three blocks, an event among the records, one record across a border and one larger than a block. */
async function severalBlocks(cacheBytes: number): Promise<{ machine: MemoryPlatform; log: ShardLog; ledger: Ledger }> {
  const machine = new MemoryPlatform({ seed: 5 });
  const log = await ShardLog.open(options(machine, cacheBytes));
  const ledger = new Ledger();
  for (let i = 0; i < 12; i++) await ledger.append(log, [3, 0, 20], 200);
  await ledger.append(log, [2], BLOCK_BYTES + 100);
  for (let i = 0; i < 4; i++) await ledger.append(log, [20], 300);
  return { machine, log, ledger };
}

function options(machine: MemoryPlatform, cacheBytes: number) {
  return logOptions(machine, { segmentBytes: MIB, indexIntervalBytes: 4096, cache: new BlockCache(cacheBytes) });
}

describe('a log with a block cache', () => {
  it('gives back every record while its segment is written, and once it is sealed', async () => {
    const { machine, log, ledger } = await severalBlocks(MIB);
    ledger.check(log);
    await log.close();
    for (const cacheBytes of [MIB, 2 * BLOCK_BYTES, BLOCK_BYTES]) {
      const again = await ShardLog.open(options(machine, cacheBytes));
      for (let round = 0; round < 3; round++) ledger.check(again);
      await again.close();
    }
  });

  it('keeps with a block the hashes of its records, each that of its own record', async () => {
    const { machine, log, ledger } = await severalBlocks(MIB);
    await log.close();
    const again = await ShardLog.open(options(machine, MIB));
    let kept = 0;
    for (let round = 0; round < 2; round++)
      for (let seq = 1; seq <= ledger.lastSeq; seq++) {
        const record = again.read(seq);
        if (record === undefined) continue;
        const { hash } = new StoredVersion(1 as ShardId, record, undefined, new Erasures());
        expect(hash).toBe(hex(storedRecordHash(1, record)));
        if (record.known?.of(seq) !== undefined) kept++;
      }
    expect(kept).toBeGreaterThan(ledger.lastSeq);
    await again.close();
  });

  it('reads a sealed segment from its block table and its blocks alone', async () => {
    const { machine, log, ledger } = await severalBlocks(MIB);
    await log.close();
    const again = await ShardLog.open(options(machine, MIB));
    expect(again.read(ledger.lastSeq)?.seq).toBe(ledger.lastSeq);
    expect(again.segmentSet.all[0]?.index).toBeUndefined();
    await again.close();
  });

  it('tells the truth or CORRUPT whatever byte of a sealed segment rots, cached before or not', async () => {
    const { machine, log, ledger } = await severalBlocks(MIB);
    await log.close();
    const path = segmentPath(machine);
    const truth = new Map<number, unknown>();
    const whole = await ShardLog.open(options(machine.clone(), MIB));
    for (let seq = 1; seq <= ledger.lastSeq; seq++) truth.set(seq, shown(whole, seq));
    const bits = machine.contents(path).length * 8;
    const seed = Number(process.env.SEED ?? 20_251_121);
    let corrupt = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 128 * 8, max: bits - 1 }), async (bit) => {
        const damaged = machine.clone();
        damaged.flipBit(path, bit);
        const rotten = await ShardLog.open(options(damaged, MIB));
        for (let seq = 1; seq <= ledger.lastSeq; seq++) {
          const got = shown(rotten, seq);
          if (got === 'CORRUPT') corrupt++;
          else expect(got).toEqual(truth.get(seq));
        }
        await rotten.close();
      }),
      { numRuns: 60, seed },
    );
    expect(corrupt).toBeGreaterThan(0);
  });

  it('believes no record that ends behind its block before the record itself is checked', async () => {
    const { machine, log, ledger } = await severalBlocks(MIB);
    await log.close();
    const path = segmentPath(machine);
    const whole = await ShardLog.open(options(machine.clone(), MIB));
    const truth = Array.from({ length: ledger.lastSeq }, (_, i) => shown(whole, i + 1));
    let across = 0;
    for (let border = BLOCK_BYTES; border < machine.contents(path).length; border += BLOCK_BYTES) {
      const damaged = machine.clone();
      damaged.flipBit(path, (border + 5) * 8);
      // One after the other, each of a log that has read nothing else behind the border.
      const rotten = await ShardLog.open(options(damaged, MIB));
      const told = truth.map((_, i) => shown(rotten, i + 1));
      await rotten.close();
      truth.forEach((right, i) => {
        if (told[i] === 'CORRUPT') across++;
        else expect(told[i]).toEqual(right);
      });
    }
    expect(across).toBeGreaterThan(0);
  });

  it('does not seal over bytes that rotted since they were written', async () => {
    const { machine, log, ledger } = await severalBlocks(MIB);
    const path = segmentPath(machine);
    machine.flipBit(path, BLOCK_BYTES * 8 + 4000);
    await log.close();
    const again = await ShardLog.open(options(machine, MIB));
    expect(again.segments()[0]?.sealed).toBe(false);
    expect(again.findings.map(({ kind }) => kind)).toContain('damaged');
    expect(shown(again, ledger.lastSeq)).not.toBe('CORRUPT');
    await again.close();
  });
});

function segmentPath(machine: MemoryPlatform): string {
  return machine.fileList().find(({ path }) => path.endsWith('.seg'))!.path;
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

describe('a block table', () => {
  it('finds the block in which a record begins, before and after it was in a footer', () => {
    const gaps = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 44, max: 3 * BLOCK_BYTES })), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(gaps, fc.boolean(), (steps, epochs) => {
        const table = new BlockTable(1);
        const starts: { seq: number; offset: number }[] = [];
        let seq = 7;
        let offset = 200;
        for (const [more, bytes] of steps) {
          table.note(seq, offset);
          starts.push({ seq, offset });
          seq += more === 3 && epochs ? 2 ** 32 : more;
          offset += bytes;
        }
        const footerOffset = Math.ceil(offset / 8) * 8;
        const raw = table.encode(footerOffset, []);
        expect(raw.length).toBe(Math.ceil(footerOffset / BLOCK_BYTES) * BLOCK_ENTRY_BYTES);
        for (const one of [table, BlockTable.from(raw)]) {
          expect(one.find(6)).toBe(-1);
          for (const start of starts) {
            const block = one.find(start.seq);
            expect(block).toBe(Math.floor(start.offset / BLOCK_BYTES));
            const first = starts.find((other) => Math.floor(other.offset / BLOCK_BYTES) === block)!;
            expect([one.seqOf(block), one.startOf(block)]).toEqual([first.seq, first.offset % BLOCK_BYTES]);
          }
        }
        const behind = BlockTable.from(raw);
        for (let block = Math.floor(starts.at(-1)!.offset / BLOCK_BYTES) + 1; block * BLOCK_BYTES < footerOffset; block++)
          expect([behind.seqOf(block), behind.startOf(block)]).toEqual([MAX_SEQ, NO_START]);
      }),
    );
  });
});

describe('the digest of a body', () => {
  it('sums up each block, however the bytes arrive', () => {
    const bytes = Buffer.alloc(2 * BLOCK_BYTES + 77, 'varve');
    const sums = [0, 1, 2].map((block) => crc32(bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES), 9));
    for (const step of [bytes.length, BLOCK_BYTES, 1000, 40_000]) {
      const digest = new BodyDigest(9);
      for (let at = 0; at < bytes.length; at += step) digest.update(bytes.subarray(at, at + step));
      expect(digest.bytes).toBe(bytes.length);
      expect(digest.finish().sums).toEqual(sums);
    }
  });
});
