/**
 * Unpacks blocks of a few KiB, one after the other, through one state each of Node's zlib and brotli.
 *
 * Node's call for a whole buffer makes a stream and a state for each, which costs more than unpacking the block. What a stream keeps its
 * state in, node tells of nowhere: it is used where it is there and does the same, tried first, and the call is made otherwise.
 * (Packing is not done so: a state that is used again looks at bytes of what it packed before, and what comes out depends on them.)
 *
 * Invariants: takes any bytes: fails unless they begin with a whole stream of exactly the length asked for. Nothing is kept between two.
 */
import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  createBrotliDecompress,
  createInflateRaw,
  deflateRawSync,
  inflateRawSync,
} from 'node:zlib';

/** Node makes its output in chunks: one that just fits spares copies, and memory. It takes no smaller ones than this. */
const MIN_CHUNK_BYTES = 64;
const TRIED_BYTES = 1000;

/** Of a stream: its state, and where that leaves how much room was left. */
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
export type Unpack = (data: Uint8Array, bytes: number, into: Buffer, at: number) => boolean;

/** A way to pack. */
interface Method {
  readonly finish: number;
  makeStream(): unknown;
  pack(raw: Uint8Array): Uint8Array;
  /** The call that node tells of. Throws for what is no whole stream. */
  unpack(data: Uint8Array, limits: { readonly maxOutputLength: number; readonly chunkSize: number }): Uint8Array;
}

/** RFC 1951. */
export const DEFLATE: Method = {
  finish: constants.Z_FINISH,
  makeStream: createInflateRaw,
  pack: deflateRawSync,
  unpack: inflateRawSync,
};

/** RFC 7932. */
export const BROTLI: Method = {
  finish: constants.BROTLI_OPERATION_FINISH,
  makeStream: createBrotliDecompress,
  pack: brotliCompressSync,
  unpack: brotliDecompressSync,
};

/** Behind what is wanted: a stream that just fills its room may go on, and is told to be cut short where it does not. */
export const SPARE_BYTES = 1;

export const inflateInto = quickest(DEFLATE);
export const unbrotliInto = quickest(BROTLI);

function quickest(method: Method): Unpack {
  let chosen: Unpack | undefined;
  return (data, bytes, into, at) => {
    chosen ??= throughOneState(method) ?? alone(method);
    return chosen(data, bytes, into, at);
  };
}

export function alone(method: Method): Unpack {
  return (data, bytes, into, at) => {
    try {
      const items = method.unpack(data, { maxOutputLength: bytes, chunkSize: Math.max(MIN_CHUNK_BYTES, bytes) });
      into.set(items, at);
      return items.length === bytes;
    } catch {
      return false;
    }
  };
}

/** Undefined where this node's streams are made otherwise, or it does not do what it is to. */
export function throughOneState(method: Method): Unpack | undefined {
  try {
    let failed = false;
    const made = (): { readonly handle: Handle; readonly left: Uint32Array } | undefined => {
      const { _handle: handle, _writeState: left } = method.makeStream() as Inside;
      if (handle === undefined || !(left instanceof Uint32Array)) return undefined;
      handle.onerror = () => {
        failed = true;
      };
      return { handle, left };
    };
    let inside = made();
    if (inside === undefined) return undefined;
    const through: Unpack = (data, bytes, into, at) => {
      // A state of brotli's that has failed once fails ever after.
      if (failed) inside = made();
      failed = false;
      const { handle, left } = inside!;
      handle.reset();
      handle.writeSync(method.finish, data, 0, data.length, into, at, bytes + SPARE_BYTES);
      return !failed && left[0] === SPARE_BYTES;
    };
    return doesTheSame(through, method) ? through : undefined;
  } catch {
    return undefined;
  }
}

/** Twice, with what is cut short and what is broken in between. */
function doesTheSame(through: Unpack, { pack }: Method): boolean {
  const raw = Buffer.alloc(TRIED_BYTES, 'a block of a varve, ');
  const packed = pack(raw);
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
