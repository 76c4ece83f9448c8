/**
 * Unpacks deflated blocks (RFC 1951) of a few KiB, one after the other, through one zlib state.
 *
 * Node's call for a whole buffer makes a stream and a state for each, which costs more than unpacking the block. What a stream keeps its
 * state in, node tells of nowhere: it is used where it is there and does the same, tried first, and the call is made otherwise.
 * (Packing is not done so: a state that is used again looks at bytes of what it packed before, and what comes out depends on them.)
 *
 * Invariants: takes any bytes: fails unless they begin with a whole stream of exactly the length asked for. Nothing is kept between two.
 */
import { constants, createInflateRaw, deflateRawSync, inflateRawSync } from 'node:zlib';

/** Node's zlib makes its output in chunks: one that just fits spares copies, and memory. It takes no smaller ones than this. */
const MIN_CHUNK_BYTES = 64;
const TRIED_BYTES = 1000;

/** Of a zlib stream: its state, and where that leaves how much room was left. */
interface Handle {
  reset(): void;
  writeSync(flush: number, from: Uint8Array, at: number, bytes: number, into: Uint8Array, intoAt: number, room: number): void;
  onerror: () => void;
}
interface Inside {
  readonly _handle?: Handle;
  readonly _writeState?: Uint32Array;
}
/** To `into`, from `at` on, where there is room for them and SPARE_BYTES. Whether it could: what is there otherwise is of no use. */
type Inflate = (data: Uint8Array, bytes: number, into: Buffer, at: number) => boolean;

/** Behind what is wanted: a stream that just fills its room may go on, and is told to be cut short where it does not. */
export const SPARE_BYTES = 1;

let chosen: Inflate | undefined;

/** In memory of their own. */
export function inflate(data: Uint8Array, bytes: number): Buffer | undefined {
  const items = Buffer.allocUnsafeSlow(bytes + SPARE_BYTES);
  return inflateInto(data, bytes, items, 0) ? items.subarray(0, bytes) : undefined;
}

export function inflateInto(data: Uint8Array, bytes: number, into: Buffer, at: number): boolean {
  chosen ??= throughOneState() ?? inflateAlone;
  return chosen(data, bytes, into, at);
}

/** The call that node tells of. */
export function inflateAlone(data: Uint8Array, bytes: number, into: Buffer, at: number): boolean {
  try {
    const items = inflateRawSync(data, { maxOutputLength: bytes, chunkSize: Math.max(MIN_CHUNK_BYTES, bytes) });
    into.set(items, at);
    return items.length === bytes;
  } catch {
    return false;
  }
}

/** Undefined where this node's streams are made otherwise, or it does not do what it is to. */
export function throughOneState(): Inflate | undefined {
  try {
    const { _handle: handle, _writeState: left } = createInflateRaw() as Inside;
    if (handle === undefined || !(left instanceof Uint32Array)) return undefined;
    let failed = false;
    handle.onerror = () => {
      failed = true;
    };
    const through: Inflate = (data, bytes, into, at) => {
      failed = false;
      handle.reset();
      handle.writeSync(constants.Z_FINISH, data, 0, data.length, into, at, bytes + SPARE_BYTES);
      return !failed && left[0] === SPARE_BYTES;
    };
    return doesTheSame(through) ? through : undefined;
  } catch {
    return undefined;
  }
}

/** Twice, with what is cut short and what is broken in between. */
function doesTheSame(through: Inflate): boolean {
  const raw = Buffer.alloc(TRIED_BYTES, 'a block of a varve, ');
  const packed = deflateRawSync(raw);
  const into = Buffer.alloc(TRIED_BYTES + 2 * SPARE_BYTES + 1);
  const fails = (data: Uint8Array, bytes: number) => !through(data, bytes, into, 1);
  for (let i = 0; i < 2; i++) {
    into.fill(0);
    if (!through(packed, TRIED_BYTES, into, 1) || !into.subarray(1, TRIED_BYTES + 1).equals(raw)) return false;
    if (!fails(packed.subarray(0, packed.length - 1), TRIED_BYTES)) return false;
    if (!fails(packed, TRIED_BYTES - 1) || !fails(packed, TRIED_BYTES + 1)) return false;
    if (!fails(Buffer.alloc(20, 0xff), TRIED_BYTES)) return false;
  }
  return true;
}
