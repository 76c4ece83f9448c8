/** Messages of a stream: whatever the network makes of them, they come out as they went in, or not at all. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BadMessage, encodeMessage, heartbeat, MESSAGE_HEAD_BYTES, MessageDecoder, type StreamMessage } from '../../replication/message.js';

const SEED = 0x1234abcd;
const seq = fc.integer({ min: 1, max: 2 ** 47 });

const batches: fc.Arbitrary<StreamMessage> = fc
  .record({
    epoch: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    firstSeq: seq,
    more: fc.nat(1_000),
    compactedThrough: fc.nat(2 ** 31 - 1),
    batches: fc.uint8Array({ maxLength: 300 }),
    durableSeq: seq,
    time: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  })
  .map(({ more, ...rest }) => ({ ...rest, kind: 'batches', lastSeq: rest.firstSeq + more }));
const message = fc.oneof(
  batches,
  fc
    .tuple(fc.constantFrom('heartbeat' as const, 'goodbye' as const), fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.nat(2 ** 31 - 1))
    .map(([kind, epoch, durable]) => heartbeat(kind, epoch, durable, 1_735_689_600_000_000)),
);

function decodeAll(decoder: MessageDecoder, chunks: readonly Uint8Array[]): StreamMessage[] {
  const found: StreamMessage[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let next = decoder.next(); next !== undefined; next = decoder.next())
      found.push({ ...next, batches: Uint8Array.from(next.batches) });
  }
  return found;
}

function cutUp(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : sizes[i % sizes.length]!;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

describe('messages of a stream', () => {
  it('come out as they went in, however they are cut up', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 120 }), { maxLength: 5 }), (messages, sizes) => {
        const bytes = Buffer.concat(messages.map((each) => encodeMessage(each, SEED)));
        const decoder = new MessageDecoder(SEED);
        const expected = messages.map((each) => ({ ...each, batches: Uint8Array.from(each.batches) }));
        expect(decodeAll(decoder, cutUp(bytes, sizes))).toEqual(expected);
        expect(decoder.heldBytes).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('with any byte changed are refused, and what came before them is not', () => {
    fc.assert(
      fc.property(batches, batches, fc.nat(), fc.integer({ min: 1, max: 255 }), (good, bad, place, flip) => {
        const bytes = encodeMessage(bad, SEED);
        bytes[place % bytes.length]! ^= flip;
        const decoder = new MessageDecoder(SEED, 1 << 20);
        decoder.push(encodeMessage(good, SEED));
        decoder.push(bytes);
        expect(decoder.next()?.firstSeq).toBe(good.firstSeq);
        let found: StreamMessage | undefined;
        try {
          found = decoder.next();
        } catch (error) {
          expect(error).toBeInstanceOf(BadMessage);
        }
        // A length that became larger waits for the rest.
        expect(found).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it('never make anything but a message, a wait or a clear error of any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), fc.boolean(), (chunks, magic) => {
        const decoder = new MessageDecoder(SEED);
        try {
          decodeAll(decoder, magic ? [Buffer.from('VRPL\x01\0\0\0', 'latin1'), ...chunks] : chunks);
        } catch (error) {
          expect(error).toBeInstanceOf(BadMessage);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('of another shard fail their checksum', () => {
    const decoder = new MessageDecoder(SEED + 1);
    decoder.push(encodeMessage(heartbeat('heartbeat', 1, 7, 1), SEED));
    expect(() => decoder.next()).toThrow(BadMessage);
  });

  it('are refused by their head where they say too much, before anything is gathered for them', () => {
    const bytes = encodeMessage(heartbeat('heartbeat', 1, 7, 1), SEED);
    const head = Buffer.from(bytes.subarray(0, MESSAGE_HEAD_BYTES));
    head[4] = 1;
    head.writeUInt32LE(256 * 1024 * 1024 + 1, 8);
    const decoder = new MessageDecoder(SEED);
    decoder.push(head);
    expect(() => decoder.next()).toThrow(/more than/);
    const largest = Buffer.from(head);
    largest.writeUInt32LE(256 * 1024 * 1024, 8);
    const patient = new MessageDecoder(SEED);
    patient.push(largest);
    expect(patient.next()).toBeUndefined();
    expect(patient.heldBytes).toBe(MESSAGE_HEAD_BYTES);
  });
});
