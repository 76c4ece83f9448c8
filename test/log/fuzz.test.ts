/** Real files, mangled: opening and reading gives what was written, or says that it cannot; it never throws anything else and never makes things up. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VarveError } from '../../engine/errors.js';
import { isGap, ShardLog } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { DIRECTORY, FIRST_TIME, Ledger, logOptions, show, showRecord } from './support.js';

type Mangle =
  | { kind: 'overwrite'; at: number; bytes: Uint8Array }
  | { kind: 'zero'; at: number; length: number }
  | { kind: 'copy'; from: number; at: number; length: number }
  | { kind: 'cut'; at: number }
  | { kind: 'grow'; bytes: Uint8Array };

const position = fc.nat(1_000_000);
const mangles = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('overwrite' as const), at: position, bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
    fc.record({ kind: fc.constant('zero' as const), at: position, length: fc.integer({ min: 1, max: 600 }) }),
    fc.record({ kind: fc.constant('copy' as const), from: position, at: position, length: fc.integer({ min: 1, max: 800 }) }),
    fc.record({ kind: fc.constant('cut' as const), at: position }),
    fc.record({ kind: fc.constant('grow' as const), bytes: fc.uint8Array({ minLength: 1, maxLength: 100 }) }),
  ),
  { minLength: 1, maxLength: 3 },
);

function mangle(bytes: Buffer, change: Mangle): Buffer {
  const at = 'at' in change ? change.at % (bytes.length + 1) : 0;
  switch (change.kind) {
    case 'overwrite':
      bytes.set(change.bytes.subarray(0, bytes.length - at), at);
      return bytes;
    case 'zero':
      return bytes.fill(0, at, Math.min(bytes.length, at + change.length));
    case 'copy': {
      // Half of them on multiples of 8, where frames could pass for their neighbours.
      const from = (change.from % (bytes.length + 1)) & ~7;
      bytes.copy(bytes, change.length % 2 === 0 ? at & ~7 : at, from, Math.min(bytes.length, from + change.length));
      return bytes;
    }
    case 'cut':
      return bytes.subarray(0, at);
    case 'grow':
      return Buffer.concat([bytes, change.bytes]);
  }
}

async function sample(close: boolean): Promise<MemoryPlatform> {
  const machine = new MemoryPlatform({ seed: 1 });
  const log = await ShardLog.open(logOptions(machine));
  const ledger = new Ledger();
  for (let i = 0; i < 9; i++) await ledger.append(log, i % 4 === 3 ? [1, 0, 2] : [(i % 3) + 1, 1]);
  await log.sealed();
  if (close) await log.close();
  return machine.killProcess();
}

describe('mangled segments', () => {
  for (const close of [true, false]) {
    it(`of a log that was ${close ? 'closed' : 'left open'} give what was written or an error, and work goes on`, {
      timeout: 600_000,
    }, async () => {
      const machine = await sample(close);
      const sound = await ShardLog.open(logOptions(machine.clone()));
      const batches = new Map([...sound.batches(1)].map((item) => [isGap(item) ? 0 : item.firstSeq, JSON.stringify(show(item))]));
      const records = Array.from({ length: sound.durableSeq + 1 }, (_, seq) => sound.read(seq)).map(
        (record) => record && JSON.stringify(showRecord(record)),
      );
      const paths = machine.fileList().map((file) => file.path);
      await fc.assert(
        fc.asyncProperty(fc.nat(paths.length - 1), mangles, async (which, changes) => {
          const broken = machine.clone();
          const path = paths[which]!;
          const before = machine.contents(path);
          const after = changes.reduce<Buffer>((bytes, change) => mangle(bytes, change), Buffer.from(before));
          broken.store(path, after);
          const log = await ShardLog.open(logOptions(broken));
          let unread = 0;
          for (let seq = 1; seq <= Math.max(log.durableSeq, sound.durableSeq); seq++) {
            try {
              const record = log.read(seq);
              if (record === undefined) unread += records[seq] === undefined ? 0 : 1;
              else expect(JSON.stringify(showRecord(record))).toBe(records[seq]);
              log.positionAt(FIRST_TIME + seq * 10);
            } catch (error) {
              if (!(error instanceof VarveError)) throw error;
              expect(error.code).toBe('CORRUPT');
              unread++;
            }
          }
          for (const item of log.batches(1)) {
            if (isGap(item)) unread++;
            else expect(JSON.stringify(show(item))).toBe(batches.get(item.firstSeq));
          }
          // The last file cut where a frame ends looks like a log that never went further; the log alone cannot know.
          const cutClean = which === paths.length - 1 && before.subarray(0, after.length).equals(after);
          if (unread > 0 && !cutClean) expect(log.findings.length).toBeGreaterThan(0);
          log.findIdempotent('request-3', 0);
          const group = log.beginGroup();
          const seq = log.durableSeq + 1;
          group.addEvent({
            seq,
            time: 1,
            event: { type: 'checkpoint', throughSeq: seq - 1, entries: 0, root: Buffer.alloc(32), previous: Buffer.alloc(32) },
          });
          await log.append(group);
          await log.close();
          const again = await ShardLog.open(logOptions(broken));
          expect(again.durableSeq).toBe(seq);
        }),
        { numRuns: Number(process.env['FUZZ_RUNS'] ?? 300) },
      );
    });
  }

  it('of noise under a segment name is set aside, reported, and harms nothing', async () => {
    const machine = await sample(true);
    machine.store(`${DIRECTORY}/fffffffffff0-0000.seg`, Buffer.alloc(5000, 7));
    machine.store(`${DIRECTORY}/000000000003-0000.seg`, Buffer.alloc(0));
    const log = await ShardLog.open(logOptions(machine));
    expect(log.findings.map((finding) => finding.kind)).toEqual(['damaged', 'damaged']);
    expect([...log.batches(1)].some(isGap)).toBe(false);
    await log.close();
    const again = await ShardLog.open(logOptions(machine));
    expect(again.findings.map((finding) => finding.kind)).toEqual(['stray', 'stray']);
    expect(again.durableSeq).toBe(log.durableSeq);
  });
});

describe('many segments', () => {
  it('are read in any order through a bounded number of open files', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const ledger = new Ledger();
    const log = await ShardLog.open(logOptions(machine, { segmentBytes: 1 }));
    for (let i = 0; i < 150; i++) await ledger.append(log, [1]);
    await log.close();
    const reopened = await ShardLog.open(logOptions(machine));
    expect(reopened.segments().length).toBe(150);
    for (let i = 0; i < 600; i++) {
      const seq = ((i * 67) % 150) + 1;
      expect(reopened.read(seq)?.seq).toBe(seq);
    }
    ledger.check(reopened);
    await reopened.close();
  });
});
