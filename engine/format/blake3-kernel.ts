/**
 * BLAKE3's compression of four inputs side by side, one in each lane of the processor's 128-bit registers, as a WebAssembly module that
 * is put together here: small enough to be read, and to be held against the other implementation by a test.
 *
 *   hash4(input, stride, blocks, lastBytes, counter, step, flags, startFlags, endFlags, out)
 *
 * Lane i takes `blocks` blocks of 64 bytes from `input + i × stride` on, the last of which counts `lastBytes`, as the chunk (or parent)
 * `counter + i × step`, and leaves its chaining value of 32 bytes at `out + 32 × i`. Source: the BLAKE3 paper, sections 2.1 to 2.4.
 */

export interface Blake3Kernel {
  readonly memory: { readonly buffer: ArrayBuffer };
  hash4(
    input: number,
    stride: number,
    blocks: number,
    lastBytes: number,
    counter: number,
    step: number,
    flags: number,
    startFlags: number,
    endFlags: number,
    out: number,
  ): void;
}

export const BLOCK_BYTES = 64;
export const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19] as const;
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8] as const;
const ROUNDS = 7;
/** The columns, then the diagonals: four words of the state each. */
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

// The parameters, and behind them what the function keeps.
const [INPUT, STRIDE, BLOCKS, LAST_BYTES, COUNTER, STEP, FLAGS, START_FLAGS, END_FLAGS, OUT] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
const PARAMETERS = 10;
/** Four vectors at a time are transposed: what is loaded, and what is half way. */
const [CV, STATE, MESSAGE, HALF] = [PARAMETERS, PARAMETERS + 8, PARAMETERS + 24, PARAMETERS + 40] as const;
const VECTORS = 44;

const I32 = 0x7f;
const V128 = 0x7b;

type Code = readonly number[];

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest];
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; rest >>= 7) {
    const byte = rest & 0x7f;
    if ((rest >> 7 === 0 && byte < 0x40) || (rest >> 7 === -1 && byte >= 0x40)) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

const get = (local: number): Code => [0x20, ...unsigned(local)];
const set = (local: number): Code => [0x21, ...unsigned(local)];
const constant = (value: number): Code => [0x41, ...signed(value)];
const vector = (operation: number): Code => [0xfd, ...unsigned(operation)];
const at = (offset: number): Code => [0, ...unsigned(offset)];
const ADD = [0x6a];
const MULTIPLY = [0x6c];
const OR = [0x72];
const V_ADD = vector(174);
const V_MULTIPLY = vector(181);
const V_OR = vector(80);
const V_XOR = vector(81);
const V_LEFT = vector(171);
const V_RIGHT = vector(173);
const SPLAT = vector(17);
const load = (offset: number): Code => [...vector(0), ...at(offset)];
const store = (offset: number): Code => [...vector(11), ...at(offset)];
/** Words of two vectors, as one: 0 to 3 are those of the first, 4 to 7 of the second. */
const shuffle = (...words: readonly number[]): Code => [
  ...vector(13),
  ...words.flatMap((word) => [0, 1, 2, 3].map((byte) => word * 4 + byte)),
];

/** local := local ^ other, turned right. */
function xorTurn(local: number, other: number, bits: number): Code {
  const mixed = [...get(local), ...get(other), ...V_XOR, ...set(local)];
  const right = [...get(local), ...constant(bits), ...V_RIGHT];
  return [...mixed, ...right, ...get(local), ...constant(32 - bits), ...V_LEFT, ...V_OR, ...set(local)];
}

function quarter([a, b, c, d]: readonly number[], x: number, y: number): Code {
  const [va, vb, vc, vd] = [STATE + a!, STATE + b!, STATE + c!, STATE + d!];
  const mix = (word: number): Code => [...get(va), ...get(vb), ...V_ADD, ...get(MESSAGE + word), ...V_ADD, ...set(va)];
  const sum = [...get(vc), ...get(vd), ...V_ADD, ...set(vc)];
  const first = [...mix(x), ...xorTurn(vd, va, 16), ...sum, ...xorTurn(vb, vc, 12)];
  return [...first, ...mix(y), ...xorTurn(vd, va, 8), ...sum, ...xorTurn(vb, vc, 7)];
}

function rounds(): Code {
  const code: number[] = [];
  let order = Array.from({ length: 16 }, (_, i) => i);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, words] of QUARTERS.entries()) code.push(...quarter(words, order[2 * i]!, order[2 * i + 1]!));
    order = PERMUTATION.map((from) => order[from]!);
  }
  return code;
}

/** Four vectors from `from` on become their own columns, in `to`. */
function transpose(from: number, to: number): Code {
  const pick = (a: number, b: number, words: readonly number[], into: number): Code => [
    ...get(a),
    ...get(b),
    ...shuffle(...words),
    ...set(into),
  ];
  const low = [0, 4, 1, 5];
  const high = [2, 6, 3, 7];
  return [
    ...pick(from, from + 1, low, HALF),
    ...pick(from, from + 1, high, HALF + 1),
    ...pick(from + 2, from + 3, low, HALF + 2),
    ...pick(from + 2, from + 3, high, HALF + 3),
    ...pick(HALF, HALF + 2, [0, 1, 4, 5], to),
    ...pick(HALF, HALF + 2, [2, 3, 6, 7], to + 1),
    ...pick(HALF + 1, HALF + 3, [0, 1, 4, 5], to + 2),
    ...pick(HALF + 1, HALF + 3, [2, 3, 6, 7], to + 3),
  ];
}

/** Word i of the message becomes the i-th words of all four blocks. */
function loadMessage(): Code {
  const code: number[] = [];
  for (let part = 0; part < 4; part++) {
    for (let lane = 0; lane < 4; lane++) {
      const address = [...get(INPUT), ...get(STRIDE), ...constant(lane), ...MULTIPLY, ...ADD];
      code.push(...address, ...load(16 * part), ...set(MESSAGE + 4 * part + lane));
    }
    code.push(...transpose(MESSAGE + 4 * part, MESSAGE + 4 * part));
  }
  return code;
}

function initialState(): Code {
  const code: number[] = [];
  for (let i = 0; i < 8; i++) code.push(...get(CV + i), ...set(STATE + i));
  for (let i = 0; i < 4; i++) code.push(...constant(IV[i]!), ...SPLAT, ...set(STATE + 8 + i));
  const lanes = [...vector(12), 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
  code.push(...get(COUNTER), ...SPLAT, ...lanes, ...get(STEP), ...SPLAT, ...V_MULTIPLY, ...V_ADD, ...set(STATE + 12));
  code.push(...constant(0), ...SPLAT, ...set(STATE + 13));
  const bytes = [...get(LAST_BYTES), ...constant(BLOCK_BYTES), ...get(BLOCKS), ...constant(1), 0x46, 0x1b]; // blocks == 1 ? last : 64
  code.push(...bytes, ...SPLAT, ...set(STATE + 14));
  const ends = [...get(END_FLAGS), ...constant(0), ...get(BLOCKS), ...constant(1), 0x46, 0x1b];
  code.push(...get(FLAGS), ...get(START_FLAGS), ...OR, ...ends, ...OR, ...SPLAT, ...set(STATE + 15));
  return code;
}

function body(): Code {
  const code: number[] = [];
  for (let i = 0; i < 8; i++) code.push(...constant(IV[i]!), ...SPLAT, ...set(CV + i));
  code.push(0x03, 0x40, ...loadMessage(), ...initialState(), ...rounds()); // loop
  for (let i = 0; i < 8; i++) code.push(...get(STATE + i), ...get(STATE + 8 + i), ...V_XOR, ...set(CV + i));
  code.push(...constant(0), ...set(START_FLAGS), ...get(INPUT), ...constant(BLOCK_BYTES), ...ADD, ...set(INPUT));
  code.push(...get(BLOCKS), ...constant(1), 0x6b, 0x22, ...unsigned(BLOCKS), 0x0d, 0, 0x0b); // again while blocks are left
  for (let half = 0; half < 2; half++) {
    code.push(...transpose(CV + 4 * half, MESSAGE));
    for (let lane = 0; lane < 4; lane++) code.push(...get(OUT), ...get(MESSAGE + lane), ...store(32 * lane + 16 * half));
  }
  return [...code, 0x0b];
}

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}

function exported(name: string, kind: number): Code {
  return [...unsigned(name.length), ...Buffer.from(name), kind, 0];
}

/** What we use of the global, which has no types without a browser's. */
interface WebAssemblyGlobal {
  validate(bytes: Uint8Array): boolean;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

/** `pages` of 64 KiB are its memory. Undefined where the runtime has no such registers. */
export function makeBlake3Kernel(pages: number): Blake3Kernel | undefined {
  const code = [1, ...unsigned(VECTORS), V128, ...body()];
  const bytes = Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, ...unsigned(PARAMETERS), ...Array.from({ length: PARAMETERS }, () => I32), 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, ...unsigned(pages)]),
    ...section(7, [2, ...exported('memory', 2), ...exported('hash4', 0)]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal };
  if (!WebAssembly.validate(bytes)) return undefined;
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as Blake3Kernel;
}
