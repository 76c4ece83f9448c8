/** What a stranger sends (law 9): anything wrong is refused, and nothing of it is taken. */
import { describe, expect, it } from 'vitest';
import { Engine } from '../../engine/engine.js';
import { decodeBatchHead, setBatchBytes } from '../../engine/format/batch.js';
import { crc32 } from '../../engine/format/checksum.js';
import { segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder, KIND_PUT, KIND_TOMBSTONE, type LogEvent, type NewBatch, type NewRecord } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { LogSlice } from '../../engine/replica.js';
import { Random } from '../support/random.js';
import { agree, catchUp, openCopy, SMALL, sent } from './support.js';

const SEED = 99;

async function started(): Promise<{ db: Engine; copy: Engine; recordSeed: number; place: LogSlice }> {
  const machine = new MemoryPlatform({ seed: 1 });
  const db = await Engine.open(machine, SMALL);
  for (let i = 0; i < 10; i++) await db.put('c', `k${i % 3}`, { i });
  const { db: copy } = await openCopy(machine, 2);
  await catchUp(db, copy);
  const { recordSeed } = segmentPlace(Buffer.from(db.databaseId, 'hex'), 1, 1, 0);
  return { db, copy, recordSeed, place: { epoch: 1, firstSeq: 11, lastSeq: 11, compactedThrough: 0, batches: new Uint8Array(0) } };
}

const put = (key: string, more: object = {}): NewRecord => ({
  kind: KIND_PUT,
  supersedes: 0,
  refs: [],
  collection: Buffer.from('c'),
  key: Buffer.from(key),
  body: Buffer.from('1'),
  salt: Buffer.alloc(16, 7),
  ...more,
});

function batchOf(recordSeed: number, batch: NewBatch | { seq: number; event: LogEvent }): Uint8Array {
  const builder = new GroupBuilder(recordSeed);
  if ('event' in batch) builder.addEvent({ ...batch, time: 1 });
  else builder.addBatch(batch);
  const { frame, head } = builder.finish(segmentPlace(new Uint8Array(16), 1, 1, 0), 0, 1, 0);
  return Uint8Array.from(frame.subarray(48, 48 + head.payloadBytes));
}

async function refused(copy: Engine, slice: LogSlice, why: string, what = /./): Promise<void> {
  const { durableSeq } = copy.replica(1);
  const before = copy.now().list('c');
  await expect(copy.replica(1).apply(slice), why).rejects.toMatchObject({
    code: 'UNSOUND',
    details: { what: expect.stringMatching(what) },
  });
  expect(copy.replica(1).durableSeq, why).toBe(durableSeq);
  expect(copy.now().list('c'), why).toEqual(before);
}

describe('a slice', () => {
  it('is refused with any bit of it flipped', async () => {
    const { db, copy } = await started();
    await db.insert(
      [
        { collection: 'c', key: 'k1', body: { n: 1 } },
        { collection: 'c', key: 'new', body: 'text' },
      ],
      { idempotencyKey: 'once' },
    );
    const [slice] = [...db.replica(1).slices(11)].map(sent);
    for (let bit = 0; bit < slice!.batches.length * 8; bit++) {
      const batches = Uint8Array.from(slice!.batches);
      batches[bit >> 3]! ^= 1 << (bit & 7);
      const head = decodeBatchHead(batches, 0, batches.length);
      // Heads carry no checksum of their own: what they say of time, key and length is held by the message's (docs/PROTOCOL.md).
      const same = head !== undefined && head.totalBytes === batches.length && bit >> 3 < head.headBytes;
      if (same) continue;
      await refused(copy, { ...slice!, batches }, `bit ${bit}`);
    }
    await copy.replica(1).apply(slice!);
    expect(await agree(db, copy)).toBe(true);
    await db.close();
    await copy.close();
  });

  it('is refused where it leaves a seq out, comes twice, comes from an epoch that did not begin, or covers nothing that can be', async () => {
    const { db, copy, recordSeed, place } = await started();
    await db.put('c', 'x', 1);
    await db.put('c', 'y', 2);
    const slices = [...db.replica(1).slices(11)].map(sent);
    const [one] = slices;
    const [last] = slices.slice(-1);
    if (last !== one) await refused(copy, last!, 'a hole', /begins at/);
    await refused(copy, { ...one!, epoch: 2 }, 'an epoch without its event', /does not begin/);
    await refused(copy, { ...one!, epoch: 0 }, 'no epoch', /numbers/);
    await refused(copy, { ...one!, lastSeq: one!.lastSeq - 2 }, 'covers less than it holds');
    await refused(copy, { ...one!, firstSeq: 12 }, 'begins later');
    await refused(copy, { ...one!, lastSeq: 2 ** 48 }, 'beyond every seq');
    await refused(copy, { ...one!, compactedThrough: -1 }, 'nonsense');
    await refused(copy, { ...one!, firstSeq: Number.NaN }, 'nonsense');
    const node = Buffer.alloc(16, 1);
    const epoch: LogEvent = { type: 'epoch', epoch: 2, endsAt: 10, node, url: Buffer.from('u'), reason: Buffer.from('r') };
    const seq = 10 + 2 ** 32;
    const begins = { ...place, epoch: 2, firstSeq: seq, lastSeq: seq, batches: batchOf(recordSeed, { seq, event: epoch }) };
    await refused(copy, { ...begins, epoch: 3 }, 'another epoch than its event', /does not begin/);
    await refused(copy, { ...begins, epoch: 1 }, 'an epoch inside of another', /begins at/);
    const early: LogEvent = { ...epoch, endsAt: 9 };
    const other = { ...begins, firstSeq: seq - 1, lastSeq: seq - 1, batches: batchOf(recordSeed, { seq: seq - 1, event: early }) };
    await refused(copy, other, 'an epoch that begins before the end of ours', /does not begin/);
    await copy.replica(1).apply(one!);
    await refused(copy, one!, 'again', /begins at/);
    await db.close();
    await copy.close();
  });

  it('is refused where its records cannot be, whatever their checksums say', async () => {
    const { db, copy, recordSeed, place } = await started();
    const { time } = copy.record('000100000000000a')!;
    const later = copy.shardList[0]!.log.lastTime + 1000;
    expect(time).toBeDefined();
    const slice = (record: object, at = later): LogSlice => ({
      ...place,
      batches: batchOf(recordSeed, { firstSeq: 11, time: at, records: [put('n', record)] }),
    });
    await refused(copy, slice({ salt: new Uint8Array(0) }), 'a body without salt', /salt/);
    await refused(copy, slice({}, copy.shardList[0]!.log.lastTime), 'a time that is not later', /time/);
    await refused(copy, slice({ collection: Buffer.from('') }), 'no collection', /names/);
    await refused(copy, slice({ collection: Buffer.from('not a name') }), 'no name', /names/);
    await refused(copy, slice({ key: Buffer.from('a\0b') }), 'a zero in a key', /names/);
    await refused(copy, slice({ key: Buffer.from([0xff]) }), 'a key that is no UTF-8', /UTF-8/);
    await refused(copy, slice({ key: Buffer.alloc(600, 97) }), 'a long key', /names/);
    await refused(copy, slice({ key: Buffer.from('k1'), supersedes: 2 }), 'supersedes an older one than the newest', /supersedes/);
    await refused(
      copy,
      slice({ collection: Buffer.from('_horizons'), body: Buffer.from('{"horizon":"x"}') }),
      'a horizon that is none',
      /says nothing/,
    );
    await refused(copy, slice({ collection: Buffer.from('_erasures'), body: Buffer.from('7') }), 'an erasure that is none', /says nothing/);
    await refused(copy, slice({ collection: Buffer.from('_erasures'), body: Buffer.from('{') }), 'no JSON', /says nothing/);
    const trim: LogEvent = { type: 'trim', runs: [{ fromSeq: 5, toSeq: 2 ** 40 }] };
    const far = 2 ** 40 + 1;
    await refused(
      copy,
      { ...place, lastSeq: far, batches: batchOf(recordSeed, { seq: far, event: trim }) },
      'covers what nobody sent',
      /trim/,
    );
    const erasure: LogEvent = { type: 'erasure', collection: Buffer.from('c'), key: Buffer.from('\u0001'), reason: Buffer.from('r') };
    await refused(copy, { ...place, batches: batchOf(recordSeed, { seq: 11, event: erasure }) }, 'an erasure of what cannot be', /erasure/);
    await copy
      .replica(1)
      .apply(slice({ kind: KIND_TOMBSTONE, body: new Uint8Array(0), salt: new Uint8Array(0), key: Buffer.from('k1'), supersedes: 8 }));
    expect(copy.now().get('c', 'k1')?.deleted).toBe(true);
    await db.close();
    await copy.close();
  });

  it(`is refused with random bytes in it, and neither hangs nor throws anything else (seed ${SEED})`, async () => {
    const { db, copy, recordSeed } = await started();
    await db.put('c', 'x', { text: 'y'.repeat(50) });
    const [slice] = [...db.replica(1).slices(11)].map(sent);
    const source = new Random(SEED);
    const random = () => source.below(1_000_000) / 1_000_000;
    for (let round = 0; round < 2000; round++) {
      const batches = Uint8Array.from(slice!.batches);
      const at = Math.floor(random() * batches.length);
      const count = 1 + Math.floor(random() * 20);
      for (let i = at; i < Math.min(batches.length, at + count); i++) batches[i] = Math.floor(random() * 256);
      if (random() < 0.5 && batches.length > 60) {
        // A good checksum over whatever the record says now.
        const head = decodeBatchHead(batches, 0, batches.length);
        if (head === undefined) continue;
        setBatchBytes(batches, 0, batches.length);
        const end = batches.length - 4;
        const sum = crc32(batches.subarray(head.headBytes, end), recordSeed);
        new DataView(batches.buffer).setUint32(end, sum, true);
      }
      const outcome = await copy
        .replica(1)
        .apply({ ...slice!, batches })
        .then(
          () => 'taken',
          (error: { code?: string }) => error.code,
        );
      if (outcome === 'taken') break;
      expect(outcome).toBe('UNSOUND');
      expect(copy.replica(1).durableSeq).toBe(10);
    }
    await db.close();
    await copy.close();
  });
});
