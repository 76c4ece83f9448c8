/** Rot and cut files: everything is found, nothing is silently other than it was, nothing acknowledged is cut off for damage inside. */
import { describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { type Finding, isGap, ShardLog } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { DIRECTORY, FIRST_TIME, Ledger, logOptions, show, showRecord } from './support.js';

const FIRST = `${DIRECTORY}/000000000001-0000.seg`;

async function machineWith(
  groups: readonly (readonly number[])[],
  end: 'closed' | 'crashed',
  segmentBytes = 1 << 20,
  bodyBytes?: number,
): Promise<{ machine: MemoryPlatform; ledger: Ledger }> {
  const machine = new MemoryPlatform({ seed: 1 });
  const log = await ShardLog.open(logOptions(machine, { segmentBytes }));
  const ledger = new Ledger();
  for (const sizes of groups) await ledger.append(log, sizes, bodyBytes);
  await log.sealed();
  if (end === 'closed') await log.close();
  return { machine: machine.killProcess(), ledger };
}

function scrub(log: ShardLog): Finding[] {
  const generator = log.scrub();
  let step = generator.next();
  while (!step.done) step = generator.next();
  return step.value;
}

/** The log's whole content, with what cannot be read in its place. */
function contentOf(log: ShardLog): { replayed: unknown[]; read: unknown[]; positions: unknown[]; errors: number } {
  let errors = 0;
  const guarded = (work: () => unknown): unknown => {
    try {
      return work();
    } catch (error) {
      if (!isVarveError(error, 'CORRUPT')) throw error;
      errors++;
      return 'corrupt';
    }
  };
  const replayed = [...log.batches(1)].map(show);
  const read: unknown[] = [];
  const positions: unknown[] = [];
  for (let seq = 1; seq <= log.durableSeq; seq++) {
    read.push(
      guarded(() => {
        const record = log.read(seq);
        return record && showRecord(record);
      }),
    );
    positions.push(guarded(() => log.positionAt(FIRST_TIME + seq * 10)));
  }
  return { replayed, read, positions, errors };
}

async function checkEveryBit(machine: MemoryPlatform, path: string, step = 1): Promise<number> {
  const sound = await ShardLog.open(logOptions(machine.clone()));
  const expected = contentOf(sound);
  const expectedText = JSON.stringify(expected);
  const bits = machine.contents(path).length * 8;
  let silent = 0;
  for (let bit = 0; bit < bits; bit += step) {
    const damaged = machine.clone();
    damaged.flipBit(path, bit);
    const log = await ShardLog.open(logOptions(damaged));
    const scrubbed = scrub(log);
    const content = contentOf(log);
    const found = log.findings.length + scrubbed.length;
    if (found === 0) silent++;
    const whole = JSON.stringify(content) === expectedText;
    if (!whole && found === 0) throw new Error(`bit ${bit} of ${path}: changed in silence`);
    await log.sealed();
    if (whole) continue;
    for (const kind of ['replayed', 'read', 'positions'] as const) {
      // Whatever is there is as it was: only gaps and errors may take a thing's place, and never without a finding.
      const same = content[kind].every(
        (item, i) => item === 'corrupt' || JSON.stringify(item) === JSON.stringify(expected[kind][i]) || kind === 'replayed',
      );
      if (!same) throw new Error(`bit ${bit} of ${path}: ${kind} differs\n${JSON.stringify(content[kind])}`);
    }
    for (const item of content.replayed) {
      if (!(item as { gap?: unknown }).gap && !expected.replayed.some((other) => JSON.stringify(other) === JSON.stringify(item)))
        throw new Error(`bit ${bit}: a strange batch`);
    }
  }
  return silent;
}

describe('rot', () => {
  it('is found at every bit of a sealed segment', { timeout: 120_000 }, async () => {
    const { machine } = await machineWith([[1, 0, 1], [1]], 'closed', 1 << 20, 1);
    expect(await checkEveryBit(machine, FIRST)).toBe(0);
  });

  it('is found, or harmless, at every bit of a segment that a crash left open', { timeout: 120_000 }, async () => {
    const { machine } = await machineWith([[1, 0, 1], [1]], 'crashed', 1 << 20, 1);
    expect(await checkEveryBit(machine, FIRST)).toBe(0);
  });

  it('is found at every byte of a segment with others behind it', { timeout: 120_000 }, async () => {
    const { machine } = await machineWith([[2], [1], [1]], 'crashed', 200, 1);
    expect(machine.fileList().length).toBe(3);
    // Every seventh: each byte at one or two of its bits.
    expect(await checkEveryBit(machine, FIRST, 7)).toBe(0);
  });

  it('inside an open segment is kept and reported, the file not shortened, and what can be saved is read', async () => {
    const { machine, ledger } = await machineWith([[3], [4], [2]], 'crashed');
    const before = machine.contents(FIRST);
    // In the last record of the second frame: its other records pass their own checksums.
    const at = before.indexOf('"n":6') + 2;
    machine.flipBit(FIRST, at * 8);
    for (let round = 0; round < 2; round++) {
      const log = await ShardLog.open(logOptions(machine));
      await log.sealed();
      expect(log.durableSeq).toBe(9);
      expect(log.findings).toMatchObject([{ kind: 'damaged', file: FIRST, fromSeq: 4, toSeq: 7 }]);
      const items = [...log.batches(1)];
      expect(items.map((item) => (isGap(item) ? item.gap : item.firstSeq))).toEqual([1, { fromSeq: 4, toSeq: 7 }, 8]);
      for (const seq of [1, 2, 3, 4, 5, 7, 8, 9]) expect(log.read(seq)?.seq).toBe(seq);
      expect(() => log.read(6)).toThrow('cannot be read');
      // The saved records still tell their batch's time and end.
      expect(log.positionAt(ledger.attempts[1]!.time)).toBe(7);
      expect(log.positionAt(ledger.attempts[2]!.time)).toBe(9);
      expect(log.positionAt(ledger.attempts[0]!.time - 1)).toBe(0);
      expect(machine.contents(FIRST).subarray(0, before.length).length).toBe(before.length);
      await log.close();
    }
    const log = await ShardLog.open(logOptions(machine));
    ledger.attempts.splice(0, 3);
    const group = log.beginGroup();
    group.addEvent({
      seq: 10,
      time: FIRST_TIME,
      event: { type: 'checkpoint', throughSeq: 9, entries: 8, root: Buffer.alloc(32), previous: Buffer.alloc(32) },
    });
    await log.append(group);
    expect(log.durableSeq).toBe(10);
    await log.close();
  });

  it('of a missing segment is reported with the seqs that went with it', async () => {
    const { machine } = await machineWith([[3], [4], [2], [2]], 'closed', 200);
    const paths = machine.fileList().map((file) => file.path);
    machine.files.remove(paths[1]!);
    const log = await ShardLog.open(logOptions(machine));
    expect(log.findings).toMatchObject([{ kind: 'missing', fromSeq: 4, toSeq: 7 }]);
    expect([...log.batches(1)].map((item) => (isGap(item) ? item.gap : item.firstSeq))).toEqual([1, { fromSeq: 4, toSeq: 7 }, 8, 10]);
    expect(() => log.read(5)).toThrow('cannot be read');
    await log.close();
  });

  it('never takes a whole segment or frame from another place for its own', async () => {
    const one = await machineWith([[3], [3], [3]], 'closed', 200);
    const [first, second] = one.machine.fileList().map((file) => file.path);
    one.machine.store(second!, one.machine.contents(first!));
    const log = await ShardLog.open(logOptions(one.machine));
    expect(log.findings.map((finding) => finding.kind)).toEqual(['stray', 'missing']);
    expect(() => log.read(4)).toThrow('cannot be read');
    const other = await ShardLog.open(logOptions(one.machine, { databaseId: new Uint8Array(16) }));
    expect(other.findings.every((finding) => finding.kind === 'stray')).toBe(true);
    expect(other.durableSeq).toBe(0);
  });
});

describe('a torn tail', () => {
  it('is cut at every byte, and only down to what was acknowledged', { timeout: 120_000 }, async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const log = await ShardLog.open(logOptions(machine, { segmentBytes: 1 << 20 }));
    const ledger = new Ledger();
    await ledger.append(log, [1, 2]);
    await ledger.append(log, [2]);
    const attested = ledger.attempts[1]!.lastSeq;
    const bytes = machine.contents(FIRST);
    for (let length = 128; length <= bytes.length; length++) {
      const cut = new MemoryPlatform({ seed: 1 });
      cut.store(FIRST, bytes.subarray(0, length));
      const opened = await ShardLog.open(logOptions(cut));
      const whole = length === bytes.length ? 5 : opened.durableSeq === 3 ? 3 : 0;
      expect(opened.durableSeq).toBe(whole);
      if (length > attested && whole === 0 && length > 128) expect(opened.findings.map((finding) => finding.kind)).toEqual(['torn-tail']);
      const copy = ledger.copy();
      copy.acknowledged = 0;
      copy.check(opened);
      copy.cutTo(opened.durableSeq);
      await copy.append(opened, [1]);
      await opened.close();
      const again = await ShardLog.open(logOptions(cut));
      copy.check(again);
      expect(again.findings).toEqual([]);
    }
    await log.close();
  });

  it('of a file cut below its attested position is damage, reported and not repaired by cutting', { timeout: 120_000 }, async () => {
    const { machine } = await machineWith([[2], [2], [2]], 'crashed');
    const bytes = machine.contents(FIRST);
    const cut = machine.clone();
    // The third frame attests the second; lose the middle of the second.
    const second = bytes.indexOf('"n":3');
    cut.store(FIRST, Buffer.concat([bytes.subarray(0, second), Buffer.alloc(8), bytes.subarray(second + 8)]));
    const log = await ShardLog.open(logOptions(cut));
    expect(log.durableSeq).toBe(6);
    expect(log.findings).toMatchObject([{ kind: 'damaged', fromSeq: 3, toSeq: 4 }]);
    await log.close();
    expect(cut.contents(FIRST).length).toBe(bytes.length);
  });
});
