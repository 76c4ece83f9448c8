/** What comes from peers: messages of streams, in pieces of any size, and JSON of any shape. A value, a wait, or BadMessage. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { putU32 } from '../../engine/format/bytes.js';
import { crc32 } from '../../engine/format/checksum.js';
import { readAckReport } from '../../replication/ack-book.js';
import { readStates } from '../../replication/hearing.js';
import { readEpochs, wayTo } from '../../replication/history.js';
import { BadMessage, encodeMessage, heartbeat, MessageDecoder } from '../../replication/message.js';
import { mutated } from './mutations.js';
import { pure, type Target } from './target.js';

const SEED = 0x1234;
const MAX_PAYLOAD = 1 << 20;
const batches = Uint8Array.from({ length: 200 }, (_, i) => i * 7);
const MESSAGES = [
  encodeMessage({ ...heartbeat('heartbeat', 3, 9, 5), kind: 'batches', firstSeq: 4, lastSeq: 9, batches }, SEED),
  encodeMessage(heartbeat('heartbeat', 1, 2 ** 40, 5), SEED),
  encodeMessage(heartbeat('goodbye', 2 ** 32 - 1, 0, 5), SEED),
];

export const message: Target = pure(
  'message',
  'messages of a log stream, in pieces',
  fc.tuple(mutated(MESSAGES), fc.boolean(), fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 6 })),
  ([bytes, sealed, sizes]) => {
    if (sealed && bytes.length >= 4) putU32(bytes, bytes.length - 4, crc32(bytes.subarray(0, bytes.length - 4), SEED));
    const decoder = new MessageDecoder(SEED, MAX_PAYLOAD);
    try {
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length]!;
        decoder.push(bytes.subarray(at, at + size));
        at += size;
        for (let found = decoder.next(); found !== undefined; found = decoder.next()) {
          expect(found.kind === 'batches' ? found.lastSeq >= found.firstSeq && found.firstSeq > 0 : found.batches.length === 0).toBe(true);
        }
      }
    } catch (error) {
      expect(error).toBeInstanceOf(BadMessage);
    }
    expect(decoder.heldBytes).toBeLessThanOrEqual(bytes.length);
  },
);

const small = fc.oneof(fc.integer({ min: -1, max: 9 }), fc.constantFrom(2 ** 48, 0.5, null, 'x'));
const triples = fc.array(fc.array(small, { maxLength: 4 }), { maxLength: 4 });

export const peerAnswers: Target = pure(
  'peer answers',
  'states, histories and reports of peers',
  fc.tuple(fc.jsonValue(), triples),
  ([json, lists]) => {
    for (const value of [
      json,
      lists,
      { database: 'd', shards: 1, node: 'a'.repeat(32), states: json },
      { node: 'a'.repeat(32), positions: lists },
    ]) {
      readAckReport(value, 3);
      readStates(value, 'http://a:1', 'd', 1);
      const epochs = readEpochs(value);
      if (epochs !== undefined) wayTo([{ epoch: 1, firstSeq: 1, lastSeq: 5 }], epochs);
    }
  },
);
