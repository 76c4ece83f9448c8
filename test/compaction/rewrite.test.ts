import { describe, expect, it } from 'vitest';
import { rewriteSegments, swapSegments } from '../../engine/compaction/index.js';
import type { Dropping } from '../../engine/compaction/live-frames.js';
import { isVarveError } from '../../engine/errors.js';
import { storedRecordHash } from '../../engine/format/record-hash.js';
import { isGap, ShardLog } from '../../engine/log/index.js';
import type { Segment } from '../../engine/log/segment-state.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { DIRECTORY, Ledger, logOptions, showRecord } from '../log/support.js';
import { decodedBytes } from '../support/decoded.js';

const NOTHING: Dropping = { isDropped: () => false, isErased: () => false };

async function filled(groups = 60): Promise<{ machine: MemoryPlatform; log: ShardLog; ledger: Ledger }> {
  const machine = new MemoryPlatform({ seed: 1 });
  const log = await ShardLog.open(logOptions(machine));
  const ledger = new Ledger();
  for (let i = 0; i < groups; i++) await ledger.append(log, [[1], [3, 2], [1, 0, 4], [5]][i % 4]!);
  await log.sealed();
  return { machine, log, ledger };
}

function sealed(log: ShardLog): Segment[] {
  return log.segmentSet.all.filter((segment) => segment.sealed);
}

async function compact(log: ShardLog, sources: readonly Segment[], compress: boolean, dropping: Dropping = NOTHING) {
  const rewritten = await rewriteSegments({ context: log.context, sources, dropping, compactedThrough: 0, compress, pace: async () => {} });
  expect(await swapSegments(log, sources, rewritten.segment)).toBe(true);
  return rewritten;
}

function records(log: ShardLog): unknown[] {
  return [...log.batches(1)].flatMap((batch) => (isGap(batch) ? [{ gap: batch.gap }] : batch.records.map(showRecord)));
}

describe.each([false, true])('rewriting segments, compressing: %s', (compress) => {
  it('merges neighbours without changing anything that is read', async () => {
    const { machine, log, ledger } = await filled();
    const sources = sealed(log);
    expect(sources.length).toBeGreaterThan(8);
    const { bytesAfter, bytesBefore, recordsAfter, recordsBefore } = await compact(log, sources.slice(1, 8), compress);
    expect(bytesAfter).toBeLessThan(bytesBefore);
    expect(recordsAfter).toBe(recordsBefore);
    ledger.check(log);
    await ledger.append(log, [2]);
    ledger.check(log);
    await log.close();
    const again = await ShardLog.open(logOptions(machine));
    ledger.check(again);
    expect(again.findings).toEqual([]);
    expect([...again.scrub()].length).toBeGreaterThan(0);
  });

  it('leaves out what is dropped, and only that, also after a reopen', async () => {
    const { machine, log } = await filled();
    const before = records(log) as { seq: number }[];
    const isDropped = (seq: number) => seq % 3 !== 0;
    await compact(log, sealed(log), compress, { ...NOTHING, isDropped });
    const through = sealed(log)[0]!.lastSeq;
    const expected = before.filter(({ seq }) => seq > through || !isDropped(seq));
    expect(records(log)).toEqual(expected);
    for (let seq = 1; seq <= through; seq++) if (isDropped(seq)) expect(log.read(seq)).toBeUndefined();
    await log.close();
    const again = await ShardLog.open(logOptions(machine));
    expect(records(again)).toEqual(expected);
    expect(again.findings).toEqual([]);
  });

  it('can be done again and again, down to nothing', async () => {
    const { machine, log } = await filled();
    await compact(log, sealed(log).slice(0, 4), compress);
    await compact(log, sealed(log).slice(0, 5), !compress, { ...NOTHING, isDropped: (seq) => seq % 2 === 0 });
    await compact(log, sealed(log), compress, { ...NOTHING, isDropped: () => true });
    const [only] = sealed(log);
    expect(only!.records).toBe(0);
    expect(log.read(1)).toBeUndefined();
    await log.close();
    const again = await ShardLog.open(logOptions(machine));
    expect(again.findings).toEqual([]);
    expect(again.durableSeq).toBe(log.durableSeq);
    expect(again.lastTime).toBe(log.lastTime);
  });

  it('erases bodies and salts and leaves every hash as it was', async () => {
    const { machine, log } = await filled();
    const hashes = new Map<number, string>();
    for (let seq = 1; seq <= log.durableSeq; seq++) {
      const record = log.read(seq);
      if (record !== undefined) hashes.set(seq, storedRecordHash(1, record).toString('hex'));
    }
    const { recordsErased, segment } = await compact(log, sealed(log), compress, { ...NOTHING, isErased: (seq) => seq % 2 === 1 });
    expect(recordsErased).toBeGreaterThan(5);
    for (const [seq, hash] of hashes) {
      const record = log.read(seq)!;
      expect(storedRecordHash(1, record).toString('hex')).toBe(hash);
      if (seq <= segment.lastSeq && seq % 2 === 1) {
        expect(record.body.length).toBe(0);
        expect(record.salt.length).toBe(0);
      }
    }
    const bytes = Buffer.concat(decodedBytes(machine, segment.path)).toString('latin1');
    expect(bytes.includes('{"n":11,')).toBe(false);
    expect(bytes.includes('{"n":12,')).toBe(true);
    expect(segment.packed).toBe(compress);
  });

  it('ends with CORRUPT and no target where a source is bad', async () => {
    const { machine, log, ledger } = await filled();
    const [, source, next] = sealed(log);
    machine.damage(source!.path, 400, Buffer.from([machine.contents(source!.path)[400]! ^ 1]));
    const rewriting = rewriteSegments({
      context: log.context,
      sources: [source!, next!],
      dropping: NOTHING,
      compactedThrough: 0,
      compress,
      pace: async () => {},
    });
    await expect(rewriting).rejects.toSatisfy((error) => isVarveError(error, 'CORRUPT'));
    expect(machine.files.list(DIRECTORY).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect(log.durableSeq).toBe(ledger.acknowledged);
  });

  it('leaves replays that are under way undisturbed', async () => {
    const { log } = await filled();
    const before = records(log);
    const replay = log.batches(1);
    const seen: unknown[] = [];
    for (let i = 0; i < 5; i++) {
      const { value } = replay.next();
      if (value !== undefined && !isGap(value)) seen.push(...value.records.map(showRecord));
    }
    await compact(log, sealed(log), compress);
    for (const batch of replay) seen.push(...(isGap(batch) ? [{ gap: batch.gap }] : batch.records.map(showRecord)));
    expect(seen).toEqual(before);
  });
});
