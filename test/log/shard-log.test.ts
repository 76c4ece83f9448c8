import { describe, expect, it } from 'vitest';
import { ShardLog } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { DIRECTORY, FIRST_TIME, Ledger, logOptions, recordFor } from './support.js';

async function filled(groups: number, changes = {}): Promise<{ machine: MemoryPlatform; log: ShardLog; ledger: Ledger }> {
  const machine = new MemoryPlatform({ seed: 1 });
  const log = await ShardLog.open(logOptions(machine, changes));
  const ledger = new Ledger();
  for (let i = 0; i < groups; i++) await ledger.append(log, i % 4 === 3 ? [1, 0, 2] : [(i % 3) + 1, 1]);
  return { machine, log, ledger };
}

describe('a shard log', () => {
  it('makes no file before there is something to write', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const log = await ShardLog.open(logOptions(machine));
    expect(log.durableSeq).toBe(0);
    expect(log.read(1)).toBeUndefined();
    expect([...log.batches(1)]).toEqual([]);
    expect(log.positionAt(FIRST_TIME)).toBe(0);
    await log.mark();
    await log.close();
    expect(machine.fileList()).toEqual([]);
  });

  it('gives back every record, batch, position and idempotency key it took', async () => {
    const { log, ledger } = await filled(40);
    expect(log.segments().length).toBeGreaterThan(4);
    ledger.check(log);
    await log.sealed();
    ledger.check(log);
    expect(log.segments().filter((segment) => !segment.sealed).length).toBe(1);
    await log.close();
  });

  it('gives the same after a clean close, from headers, trailers and footers alone', async () => {
    const { machine, log, ledger } = await filled(40);
    const before = log.segments();
    await log.close();
    const reopened = await ShardLog.open(logOptions(machine));
    ledger.check(reopened);
    expect(reopened.findings).toEqual([]);
    expect(reopened.segments().every((segment) => segment.sealed)).toBe(true);
    expect(
      reopened.segments().map(({ base, lastSeq, records, minTime, maxTime }) => ({ base, lastSeq, records, minTime, maxTime })),
    ).toEqual(before.map(({ base, lastSeq, records, minTime, maxTime }) => ({ base, lastSeq, records, minTime, maxTime })));
    expect(reopened.attestedSeq).toBe(reopened.durableSeq);
    await ledger.append(reopened, [3]);
    ledger.check(reopened);
    await reopened.close();
  });

  it('reads whatever indexes and windows are sized, large records between small ones included', async () => {
    for (const indexIntervalBytes of [1, 64, 4096, 1 << 20]) {
      const machine = new MemoryPlatform({ seed: 1 });
      const log = await ShardLog.open(logOptions(machine, { indexIntervalBytes, segmentBytes: 400_000 }));
      const ledger = new Ledger();
      for (const bytes of [10, 100_000, 10, 10, 70_000, 300_000, 10, 5]) await ledger.append(log, [2, 1], bytes);
      ledger.check(log);
      await log.close();
      const reopened = await ShardLog.open(logOptions(machine, { indexIntervalBytes }));
      ledger.check(reopened);
      await reopened.close();
    }
  });

  it('answers a time between two batches with the earlier one', async () => {
    const { log, ledger } = await filled(12);
    for (const attempt of ledger.attempts.filter((batch) => !batch.isEvent)) {
      expect(log.positionAt(attempt.time + 1)).toBe(attempt.lastSeq);
    }
    expect(log.positionAt(FIRST_TIME)).toBe(0);
    expect(log.positionAt(Number.MAX_SAFE_INTEGER)).toBeLessThanOrEqual(log.durableSeq);
    await log.close();
  });

  it('replays from any seq, from the batch that holds it', async () => {
    const { log, ledger } = await filled(20);
    for (let seq = 1; seq <= log.durableSeq + 1; seq++) {
      const first = log.batches(seq).next().value;
      const expected = ledger.attempts.find((attempt) => attempt.lastSeq >= seq);
      expect(first && 'firstSeq' in first ? first.firstSeq : undefined).toBe(expected?.firstSeq);
    }
    await log.close();
  });

  it('goes on replaying while groups are appended and segments sealed', async () => {
    const { log, ledger } = await filled(10);
    const through = log.durableSeq;
    const seen: number[] = [];
    for (const item of log.batches(1)) {
      if ('lastSeq' in item) seen.push(item.lastSeq);
      await ledger.append(log, [1]);
    }
    expect(seen).toEqual(ledger.attempts.map((attempt) => attempt.lastSeq).filter((seq) => seq <= through));
    await log.close();
  });

  it('is read while a group is on its way, which is not seen before it is durable', async () => {
    const { log, ledger } = await filled(2);
    const before = log.durableSeq;
    const appended = ledger.append(log, [2]);
    expect(log.read(before)?.seq).toBe(before);
    expect(log.read(before + 1)).toBeUndefined();
    expect([...log.batches(before + 1)]).toEqual([]);
    await appended;
    expect(log.read(before + 1)?.seq).toBe(before + 1);
    await log.close();
  });

  it('attests what is durable with a mark, once', async () => {
    const { log } = await filled(1);
    expect(log.attestedSeq).toBe(0);
    await log.mark();
    expect(log.attestedSeq).toBe(log.durableSeq);
    const bytes = log.bytes;
    await log.mark();
    expect(log.bytes).toBe(bytes);
    await log.close();
  });

  it('leaves a builder as it was when a batch cannot be encoded', async () => {
    const { log, ledger } = await filled(1);
    const group = log.beginGroup();
    const firstSeq = log.durableSeq + 1;
    group.addBatch({ firstSeq, time: FIRST_TIME * 2, records: [recordFor(firstSeq)] });
    const before = group.bytes;
    const bad = { ...recordFor(firstSeq + 2), refs: [firstSeq + 9] };
    expect(() => group.addBatch({ firstSeq: firstSeq + 1, time: FIRST_TIME * 2 + 1, records: [recordFor(firstSeq + 1), bad] })).toThrow(
      'backwards',
    );
    expect(group.bytes).toBe(before);
    expect(group.lastSeq).toBe(firstSeq);
    await log.append(group);
    expect(log.read(firstSeq)?.seq).toBe(firstSeq);
    expect([...log.batches(firstSeq)].length).toBe(1);
    expect(ledger.lastSeq).toBe(firstSeq - 1);
    await log.close();
  });

  it('reports strange files and deletes temporary ones', async () => {
    const { machine, log, ledger } = await filled(3);
    await log.close();
    machine.store(`${DIRECTORY}/notes.txt`, Buffer.from('hello'));
    machine.store(`${DIRECTORY}/000000000099-0000.seg.tmp`, Buffer.from('half'));
    const reopened = await ShardLog.open(logOptions(machine));
    expect(reopened.findings.map((finding) => [finding.kind, finding.file])).toEqual([['stray', `${DIRECTORY}/notes.txt`]]);
    expect(machine.fileList().some((file) => file.path.endsWith('.tmp'))).toBe(false);
    ledger.check(reopened);
    await reopened.close();
  });

  it('finds nothing to complain about when it scrubs what it wrote', async () => {
    const { log } = await filled(30);
    await log.sealed();
    const scrub = log.scrub();
    let step = scrub.next();
    while (!step.done) step = scrub.next();
    expect(step.value).toEqual([]);
    await log.close();
  });
});
