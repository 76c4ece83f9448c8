/**
 * BLAKE3's compression, four inputs side by side: one WebAssembly function, assembled here.
 *
 *   hash4(in, stride, blocks, lastBytes, counter, step, flags, first, last, out)
 *
 * Lane i reads `blocks` blocks of 64 bytes from `in + i × stride` on, the last of which counts `lastBytes`, and leaves its 32 bytes at
 * `out + 32 × i`. `counter + i × step` is the number of its chunk; `flags` go with every block, `first` and `last` with the first and last.
 * All four lanes are always read and written: who has fewer inputs ignores the rest. Input may be overwritten from its beginning.
 *
 * Source: the BLAKE3 paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn). Chunks are independent of each other, which is what a wide
 * register makes use of. Undefined where the runtime has no wide registers. No state, no I/O.
 */

/** What we use of the global, which has no types without a browser's. */
interface WebAssemblyGlobal {
  validate(bytes: Uint8Array): boolean;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

export interface Blake3Kernel {
  /** Never grows: views of it stay good. */
  readonly memory: { readonly buffer: ArrayBuffer };
  hash4(
    input: number,
    stride: number,
    blocks: number,
    lastBytes: number,
    counter: number,
    step: number,
    flags: number,
    first: number,
    last: number,
    out: number,
  ): void;
}

export const KERNEL_PAGES = 2;

const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
/** Which word of the message takes a place in the next round. */
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
/** Columns, then diagonals. */
const QUARTERS = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
] as const;
const ROUNDS = 7;

const I32 = 0x7f;
const V128 = 0x7b;
const PARAMETERS = 10;
// Locals, by number: parameters, then what follows.
const [IN, STRIDE, BLOCKS, LAST_BYTES, COUNTER, STEP, FLAGS, FIRST, LAST, OUT] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const ROW = [IN, 10, 11, 12];
const FLAGS_NOW = 13;
const IS_LAST = 14;
const CHAIN = 15;
const WORD = CHAIN + 8;
const STATE = WORD + 16;
const NUMBERS = STATE + 16;
const SPARE = NUMBERS + 1;
const I32_LOCALS = 5;
const V128_LOCALS = 8 + 16 + 16 + 1 + 4;

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const number = (value: number) => [0x41, ...signed(value)];
const splat = [0xfd, 0x11];
const add = [0xfd, 0xae, 0x01];
const or = [0xfd, 0x50];
const xor = [0xfd, 0x51];
const words = (values: readonly number[]) => [0xfd, 0x0c, ...values.flatMap((v) => [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24])];
/** Of 32-bit words: 0 to 3 of the first, 4 to 7 of the second. */
const shuffle = (lanes: readonly number[]) => [0xfd, 0x0d, ...lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte))];

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)];
}

/** The words of `local` turned right. By whole bytes a shuffle would do, which the runtime makes a slower one of. */
function turned(local: number, bits: number): number[] {
  const right = [...get(local), ...number(bits), 0xfd, 0xad, 0x01];
  const left = [...get(local), ...number(32 - bits), 0xfd, 0xab, 0x01];
  return [...right, ...left, ...or, ...set(local)];
}

function quarter([a, b, c, d]: readonly [number, number, number, number], x: number, y: number): number[] {
  const half = (word: number, turnD: number, turnB: number) => [
    ...[...get(a), ...get(b), ...add, ...get(word), ...add, ...set(a)],
    ...[...get(d), ...get(a), ...xor, ...set(d), ...turned(d, turnD)],
    ...[...get(c), ...get(d), ...add, ...set(c)],
    ...[...get(b), ...get(c), ...xor, ...set(b), ...turned(b, turnB)],
  ];
  return [...half(x, 16, 12), ...half(y, 8, 7)];
}

/** Four registers of four words each, rows for columns, from locals to locals. */
function transposed(from: readonly number[], to: readonly number[]): number[] {
  const pair = (a: number, b: number, lanes: readonly number[], into: number) => [...get(a), ...get(b), ...shuffle(lanes), ...set(into)];
  const [a, b, c, d] = from as [number, number, number, number];
  const low = [0, 4, 1, 5];
  const high = [2, 6, 3, 7];
  return [
    ...pair(a, b, low, SPARE),
    ...pair(a, b, high, SPARE + 1),
    ...pair(c, d, low, SPARE + 2),
    ...pair(c, d, high, SPARE + 3),
    ...pair(SPARE, SPARE + 2, [0, 1, 4, 5], to[0]!),
    ...pair(SPARE, SPARE + 2, [2, 3, 6, 7], to[1]!),
    ...pair(SPARE + 1, SPARE + 3, [0, 1, 4, 5], to[2]!),
    ...pair(SPARE + 1, SPARE + 3, [2, 3, 6, 7], to[3]!),
  ];
}

function body(): number[] {
  const eight = [0, 1, 2, 3, 4, 5, 6, 7];
  const four = [0, 1, 2, 3];
  const start = [
    ...eight.flatMap((i) => [...words(four.map(() => IV[i]!)), ...set(CHAIN + i)]),
    ...[...get(COUNTER), ...splat, ...get(STEP), ...splat, ...words([0, 1, 2, 3]), 0xfd, 0xb5, 0x01, ...add, ...set(NUMBERS)],
    ...[...get(FLAGS), ...get(FIRST), 0x72, ...set(FLAGS_NOW)],
    ...[1, 2, 3].flatMap((i) => [...get(ROW[i - 1]!), ...get(STRIDE), 0x6a, ...set(ROW[i]!)]),
  ];
  const load = four.flatMap((part) => [
    ...four.flatMap((lane) => [...get(ROW[lane]!), 0xfd, 0x00, 0, part * 16, ...set(WORD + part * 4 + lane)]),
    ...transposed(
      four.map((i) => WORD + part * 4 + i),
      four.map((i) => WORD + part * 4 + i),
    ),
  ]);
  const state = [
    ...eight.flatMap((i) => [...get(CHAIN + i), ...set(STATE + i)]),
    ...four.flatMap((i) => [...words(four.map(() => IV[i]!)), ...set(STATE + 8 + i)]),
    ...[...get(NUMBERS), ...set(STATE + 12), ...words([0, 0, 0, 0]), ...set(STATE + 13)],
    ...[...get(BLOCKS), ...number(1), 0x46, ...set(IS_LAST)],
    ...[...get(LAST_BYTES), ...number(64), ...get(IS_LAST), 0x1b, ...splat, ...set(STATE + 14)],
    ...[...get(FLAGS_NOW), ...get(LAST), ...number(0), ...get(IS_LAST), 0x1b, 0x72, ...splat, ...set(STATE + 15)],
  ];
  let order = Array.from({ length: 16 }, (_, i) => WORD + i);
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, [a, b, c, d]] of QUARTERS.entries())
      rounds.push(...quarter([STATE + a, STATE + b, STATE + c, STATE + d], order[2 * i]!, order[2 * i + 1]!));
    order = PERMUTATION.map((from) => order[from]!);
  }
  const chain = eight.flatMap((i) => [...get(STATE + i), ...get(STATE + 8 + i), ...xor, ...set(CHAIN + i)]);
  const next = [
    ...ROW.flatMap((row) => [...get(row), ...number(64), 0x6a, ...set(row)]),
    ...[...get(FLAGS), ...set(FLAGS_NOW), ...get(BLOCKS), ...number(1), 0x6b, 0x22, BLOCKS],
  ];
  const store = [0, 4].flatMap((half) => [
    ...transposed(
      four.map((i) => CHAIN + half + i),
      four.map((i) => WORD + i),
    ),
    ...four.flatMap((lane) => [...get(OUT), ...get(WORD + lane), 0xfd, 0x0b, 0, lane * 32 + half * 4]),
  ]);
  return [...start, 0x03, 0x40, ...load, ...state, ...rounds, ...chain, ...next, 0x0d, 0x00, 0x0b, ...store, 0x0b];
}

function moduleBytes(): Uint8Array {
  const text = (value: string) => [value.length, ...Buffer.from(value)];
  const section = (id: number, content: readonly number[]) => [id, ...unsigned(content.length), ...content];
  const code = [2, I32_LOCALS, I32, V128_LOCALS, V128, ...body()];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, PARAMETERS, ...new Array<number>(PARAMETERS).fill(I32), 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 1, KERNEL_PAGES, KERNEL_PAGES]),
    ...section(7, [2, ...text('memory'), 2, 0, ...text('hash4'), 0, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
}

export function makeKernel(): Blake3Kernel | undefined {
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal };
  const bytes = moduleBytes();
  return WebAssembly.validate(bytes) ? (new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as Blake3Kernel) : undefined;
}
