/** Header, footer and trailer; and the worked example of docs/FORMAT.md, which is also the golden segment: its bytes must never change. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../engine/format/checksum.js';
import { decodeFooter, decodeTrailer, encodeFooter, TRAILER_BYTES } from '../../engine/format/footer.js';
import { decodeSegmentHeader, encodeSegmentHeader, parseSegmentName, segmentName, segmentPlace } from '../../engine/format/segment.js';
import { ShardLog } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

const DATABASE_ID = Uint8Array.from({ length: 16 }, (_, i) => i);
const PLACE = segmentPlace(DATABASE_ID, 1, 1, 0);
const HEADER = { epoch: 2, replacesFrom: 3, replacesTo: 4, compactedThrough: 5, attestedSeq: 6, createdTime: 7 };

/** The segment that docs/FORMAT.md explains. */
async function exampleSegment(): Promise<Buffer> {
  const platform = new MemoryPlatform({ seed: 1, startMicros: 1_735_689_600_000_000 });
  const log = await ShardLog.open({ platform, directory: 'log', shard: 1, databaseId: DATABASE_ID, segmentBytes: 4096 });
  const group = log.beginGroup();
  const salt = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
  const record = {
    kind: 1,
    supersedes: 0,
    refs: [],
    collection: Buffer.from('customers'),
    key: Buffer.from('alice'),
    body: Buffer.from('{"city":"Umeå"}'),
    salt,
  } as const;
  const tombstone = {
    kind: 2,
    supersedes: 1,
    refs: [1],
    collection: Buffer.from('customers'),
    key: Buffer.from('alice'),
    body: Buffer.alloc(0),
    salt: Buffer.alloc(0),
  } as const;
  group.addBatch({
    firstSeq: 1,
    time: 1_735_689_600_000_001,
    records: [record, tombstone],
    idempotency: { key: 'req-1', contentHash: Buffer.alloc(16, 0xcc) },
  });
  group.addEvent({
    seq: 3,
    time: 1_735_689_600_000_001,
    event: { type: 'checkpoint', throughSeq: 2, entries: 2, root: Buffer.alloc(32, 0xdd), previous: Buffer.alloc(32) },
  });
  await log.append(group);
  await log.close();
  return platform.contents('log/000000000001-0000.seg');
}

/** As FORMAT.md shows it: 16 bytes a line, with what they are. */
function dump(bytes: Buffer): string {
  const frame = bytes.readUInt32LE(132) + 128;
  const footer = Number(bytes.readUIntLE(bytes.length - 56, 6));
  const parts: [string, number, number][] = [
    ['segment header', 0, 128],
    ['frame: head', 128, 176],
    ['frame: batch head of seqs 1 to 2, with an idempotency key', 176, 238],
    ['frame: record 1', 238, 328],
    ['frame: record 2, a tombstone', 328, 392],
    ['frame: batch head of seq 3', 392, 432],
    ['frame: checkpoint event, seq 3', 432, 532],
    ['frame: end tag, zeros, checksum', 532, frame],
    ['mark', frame, footer],
    ['footer frame: head', footer, footer + 48],
    ['footer: counts, seqs, times, BLAKE3', footer + 48, footer + 144],
    ['footer: block table', footer + 144, footer + 156],
    ['footer: index entry', footer + 156, footer + 180],
    ['footer: idempotency entry', footer + 180, footer + 232],
    ['footer: end tag, zeros, checksum', footer + 232, bytes.length - 64],
    ['trailer', bytes.length - 64, bytes.length],
  ];
  const lines: string[] = [];
  for (const [label, from, to] of parts) {
    lines.push(label);
    for (let at = from; at < to; at += 16) {
      const row = bytes.subarray(at, Math.min(at + 16, to));
      const shown = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
      lines.push(`  ${at.toString(16).padStart(4, '0')}  ${row.toString('hex').replace(/../g, '$& ').padEnd(48)} ${shown}`);
    }
  }
  return lines.join('\n');
}

describe('the format document', () => {
  it('shows the bytes this version writes', async () => {
    const document = readFileSync(new URL('../../docs/FORMAT.md', import.meta.url), 'utf8');
    const shown = /```hexdump\n([\s\S]*?)\n```/.exec(document)?.[1];
    expect(shown?.split('\n')).toEqual(dump(await exampleSegment()).split('\n'));
  });
});

describe('a segment header', () => {
  it('comes back as it went in', () => {
    expect(decodeSegmentHeader(encodeSegmentHeader(PLACE, HEADER), PLACE, 'f')).toEqual(HEADER);
  });

  it('is refused when any bit is flipped, and told apart when it is of another place', () => {
    const bytes = encodeSegmentHeader(PLACE, HEADER);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeSegmentHeader(bytes, PLACE, 'f')).toThrow('checksum');
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(decodeSegmentHeader(bytes, segmentPlace(DATABASE_ID, 1, 1, 1), 'f')).toBeUndefined();
    expect(decodeSegmentHeader(bytes, segmentPlace(new Uint8Array(16), 1, 1, 0), 'f')).toBeUndefined();
  });

  it('of any bytes is CORRUPT', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 140 }), (noise) => {
        expect(() => decodeSegmentHeader(noise, PLACE, 'f')).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
      }),
    );
  });

  it('belongs to a file named for its base and generation', () => {
    expect(segmentName(0x35391, 2)).toBe('000000035391-0002.seg');
    expect(parseSegmentName('000000035391-0002.seg')).toEqual({ base: 0x35391, generation: 2 });
    for (const name of ['000000000000-0000.seg', '1-0.seg', '000000035391-0002.seg.tmp', '00000003539G-0002.seg'])
      expect(parseSegmentName(name)).toBeUndefined();
  });
});

describe('a footer and its trailer', () => {
  const summary = { lastSeq: 9, minTime: 5, maxTime: 8, records: 7, events: 2, epoch: 1 };
  const footer = {
    blocks: new Uint8Array(12).fill(4),
    index: new Uint8Array(48).fill(1),
    idempotency: new Uint8Array(52).fill(2),
    contentHash: new Uint8Array(32).fill(3),
  };
  const bytes = encodeFooter(PLACE, 1024, summary, footer);
  const fileBytes = 1024 + bytes.length;
  const footerBytes = bytes.length - TRAILER_BYTES;

  it('come back as they went in', () => {
    const trailer = decodeTrailer(bytes.subarray(footerBytes), PLACE, fileBytes)!;
    expect(trailer).toEqual({ ...summary, footerOffset: 1024, footerBytes, packedBlocks: 0, blocksCrc: crc32(footer.blocks, PLACE.seed) });
    const back = decodeFooter(bytes.subarray(0, footerBytes), PLACE, trailer)!;
    for (const part of ['blocks', 'index', 'idempotency', 'contentHash'] as const) expect(Buffer.compare(back[part], footer[part])).toBe(0);
  });

  it('are refused when any bit is flipped', () => {
    const trailer = decodeTrailer(bytes.subarray(footerBytes), PLACE, fileBytes)!;
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (bit >> 3 < footerBytes) expect(decodeFooter(bytes.subarray(0, footerBytes), PLACE, trailer)).toBeUndefined();
      else expect(decodeTrailer(bytes.subarray(footerBytes), PLACE, fileBytes)).toBeUndefined();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it('of any bytes are nothing', () => {
    const trailer = decodeTrailer(bytes.subarray(footerBytes), PLACE, fileBytes)!;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
        expect(decodeTrailer(noise, PLACE, 1000)).toBeUndefined();
        expect(decodeFooter(noise, PLACE, { ...trailer, footerBytes: noise.length })).toBeUndefined();
      }),
    );
  });
});
