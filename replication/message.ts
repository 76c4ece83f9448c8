/**
 * Messages of a log stream as bytes. Layout in docs/PROTOCOL.md:
 *
 *   head (48): VRPL, kind, lengths, epoch, what is covered, positions, clock | batches | crc
 *
 * Invariants: nothing of a message is given out before its checksum passed, which is seeded with database and shard, so that a stream
 * of another shard fails. The decoder takes chunks of any size, holds no more than what was really received, and throws BadMessage,
 * never anything else, for any bytes; after that it is of no more use.
 */
import { crc32, getU32, getU48, getU64, type LogSlice, MAX_SAFE, putU32, putU48, putU64, view } from '../engine/copying.js';

export const MESSAGE_HEAD_BYTES = 48;
export const MESSAGE_TAIL_BYTES = 4;
/** Of batches in one message. */
export const MAX_PAYLOAD_BYTES = 256 * 1024 * 1024;
export const STREAM_TYPE = 'application/vnd.varve.log';
/** Of the answer that a stream comes in: the newest epoch of the source's log. */
export const EPOCH_HEADER = 'Varve-Epoch';

const MAGIC = 0x4c505256; // V R P L
const KINDS = ['batches', 'heartbeat', 'goodbye'] as const;
export type MessageKind = (typeof KINDS)[number];

export interface StreamMessage extends LogSlice {
  readonly kind: MessageKind;
  /** Of the source. */
  readonly durableSeq: number;
  /** The source's clock, microseconds. */
  readonly time: number;
}

/** Bytes that are no message of this stream. */
export class BadMessage extends Error {
  override readonly name = 'BadMessage';
}

const NO_BYTES = new Uint8Array(0);

export function heartbeat(kind: 'heartbeat' | 'goodbye', epoch: number, durableSeq: number, time: number): StreamMessage {
  return { kind, epoch, firstSeq: 0, lastSeq: 0, compactedThrough: 0, batches: NO_BYTES, durableSeq, time };
}

/** The message, its batches being `parts` one after the other, or its own. */
export function encodeMessage(message: StreamMessage, seed: number, parts: readonly Uint8Array[] = [message.batches]): Buffer {
  let payload = 0;
  for (const part of parts) payload += part.length;
  const bytes = Buffer.allocUnsafeSlow(MESSAGE_HEAD_BYTES + payload + MESSAGE_TAIL_BYTES);
  putU32(bytes, 0, MAGIC);
  putU32(bytes, 4, KINDS.indexOf(message.kind) + 1);
  putU32(bytes, 8, payload);
  putU32(bytes, 12, message.epoch);
  putU48(bytes, 16, message.firstSeq);
  putU48(bytes, 22, message.lastSeq);
  putU48(bytes, 28, message.durableSeq);
  putU48(bytes, 34, message.compactedThrough);
  putU64(bytes, 40, message.time);
  let at = MESSAGE_HEAD_BYTES;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  putU32(bytes, at, crc32(view(bytes, 0, at), seed));
  return bytes;
}

export class MessageDecoder {
  readonly #seed: number;
  readonly #maxPayload: number;
  #chunks: Uint8Array[] = [];
  #held = 0;
  /** Of the message that has begun, once its head is there. */
  #length = 0;
  #skipped = 0;

  constructor(seed: number, maxPayloadBytes = MAX_PAYLOAD_BYTES) {
    this.#seed = seed;
    this.#maxPayload = maxPayloadBytes;
  }

  /** Received and not given out yet. */
  get heldBytes(): number {
    return this.#held;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#held += chunk.length;
  }

  /** The next whole message, its batches a view of bytes of its own or of a chunk; undefined until more was pushed. Throws BadMessage. */
  next(): StreamMessage | undefined {
    if (this.#length === 0) {
      if (this.#held < MESSAGE_HEAD_BYTES) return undefined;
      this.#length = this.#lengthOf(this.#peek(MESSAGE_HEAD_BYTES));
    }
    if (this.#held < this.#length) return undefined;
    const bytes = this.#take(this.#length);
    this.#length = 0;
    return this.#decode(bytes);
  }

  /** Of the whole message whose head this is: refused before anything is gathered for it. */
  #lengthOf(head: Uint8Array): number {
    if (getU32(head, 0) !== MAGIC) throw new BadMessage('this is no message of a log stream');
    if (KINDS[head[4]! - 1] === undefined) throw new BadMessage(`there is no kind of message ${head[4]}`);
    if (head[5] !== 0 || head[6] !== 0 || head[7] !== 0) throw new BadMessage('reserved bytes are not zero');
    const payload = getU32(head, 8);
    if (payload > this.#maxPayload) throw new BadMessage(`${payload} bytes of batches are more than ${this.#maxPayload}`);
    if (payload > 0 && head[4] !== 1) throw new BadMessage('only messages of batches carry bytes');
    return MESSAGE_HEAD_BYTES + payload + MESSAGE_TAIL_BYTES;
  }

  #decode(bytes: Uint8Array): StreamMessage {
    const end = bytes.length - MESSAGE_TAIL_BYTES;
    if (crc32(view(bytes, 0, end), this.#seed) !== getU32(bytes, end)) throw new BadMessage('a message fails its checksum');
    const kind = KINDS[bytes[4]! - 1]!;
    const firstSeq = getU48(bytes, 16);
    const lastSeq = getU48(bytes, 22);
    const time = getU64(bytes, 40);
    const covers = kind === 'batches' ? firstSeq > 0 && lastSeq >= firstSeq : firstSeq === 0 && lastSeq === 0;
    if (!covers || time > MAX_SAFE) throw new BadMessage('a message covers what cannot be');
    return {
      kind,
      epoch: getU32(bytes, 12),
      firstSeq,
      lastSeq,
      durableSeq: getU48(bytes, 28),
      compactedThrough: getU48(bytes, 34),
      time,
      batches: bytes.subarray(MESSAGE_HEAD_BYTES, end),
    };
  }

  #peek(count: number): Uint8Array {
    const first = this.#chunks[0]!;
    if (first.length - this.#skipped >= count) return first.subarray(this.#skipped, this.#skipped + count);
    const joined = Buffer.allocUnsafe(count);
    let at = 0;
    for (let i = 0, skip = this.#skipped; at < count; i++, skip = 0) {
      const part = this.#chunks[i]!.subarray(skip, skip + count - at);
      joined.set(part, at);
      at += part.length;
    }
    return joined;
  }

  #take(count: number): Uint8Array {
    const bytes = this.#peek(count);
    let left = count;
    let gone = 0;
    while (left > 0) {
      const rest = this.#chunks[gone]!.length - this.#skipped;
      if (left < rest) {
        this.#skipped += left;
        break;
      }
      left -= rest;
      this.#skipped = 0;
      gone++;
    }
    this.#chunks.splice(0, gone);
    this.#held -= count;
    return bytes;
  }
}
