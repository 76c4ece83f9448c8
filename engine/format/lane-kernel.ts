/**
 * BLAKE3, four inputs side by side, and CRC-32: one WebAssembly module, assembled here.
 *
 *   hash(inputs, lengths, outputs, count, chunk, step, flags, first, last)
 *                            u32 addresses and lengths, a column each, of `count` inputs, rounded up to whole fours: entries beyond are
 *                            read and must be harmless. Input i is chunk `chunk + i × step`; `flags` go with every block, `first` and
 *                            `last` with the first and the last
 *   crc(at, length, seed)    as zlib's crc32
 *
 * An input has 1 to 1024 bytes, a chunk or two hashes: they need nothing of each other, which is what wide registers make use of. A lane
 * whose input has ended keeps what it has while others go on. What lies beyond an input's end does not count, but may be read; all inputs
 * of a four are read before any of their hashes is written.
 * Sources: the BLAKE3 paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn), section 2; Kounavis and Berry's slicing by eight.
 *
 * Invariants: there is one, made when first asked for. Its memory never grows, so views of it stay good; the first KERNEL_BYTES are its own,
 * the rest is whoever's calls it, until they return. No state between calls, no I/O.
 */
import { WasmCode, wasmModule } from './wasm-code.js';

/** What we use of the global, which has no types without a browser's. */
interface WebAssemblyGlobal {
  validate(bytes: Uint8Array): boolean;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  hash(
    inputs: number,
    lengths: number,
    outputs: number,
    count: number,
    chunk: number,
    step: number,
    flags: number,
    first: number,
    last: number,
  ): void;
  /** Signed. */
  crc(at: number, length: number, seed: number): number;
}

export interface LaneKernel extends Pick<Exports, 'hash' | 'crc'> {
  /** The memory, three ways. */
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly view: DataView;
}

export const LANES = 4;
/** The longest input. */
export const MAX_INPUT_BYTES = 1024;
const BLOCK_BYTES = 64;
/** 64 bytes of ones, 64 of zeros: a window over them takes away what lies beyond an input. */
const MASK_AT = 0;
const TABLES_AT = 2 * BLOCK_BYTES;
const TABLES = 8;
const TABLE_BYTES = 1024;
export const KERNEL_BYTES = TABLES_AT + TABLES * TABLE_BYTES;
const CRC_POLYNOMIAL = 0xedb88320;
/** Behind the kernel's own. */
export const WORK_BYTES = 160 * 1024;
const PAGE_BYTES = 65536;

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
export const CHUNK_START = 1;
export const CHUNK_END = 2;
export const PARENT = 4;
export const ROOT = 8;

// Locals of `hash`, by number: parameters, words, wide ones.
const [INPUTS, LENGTHS, OUTPUTS, COUNT, CHUNK, STEP, EVERY, FIRST_ONLY, LAST_ONLY] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const PARAMETERS = 9;
/** Where each lane reads its block, and what of the mask goes with it. */
const IN = PARAMETERS;
const MASK = IN + LANES;
/** Of the block, beside those of the last one. */
const FLAGS = MASK + LANES;
const LOCALS = 2 * LANES + 1;
/** The number of each lane's chunk, the bytes that it has before it, and how many of them are of this block. */
const NUMBERS = PARAMETERS + LOCALS;
const LEFT = NUMBERS + 1;
const SIZE = LEFT + 1;
const CHAIN = SIZE + 1;
const WORD = CHAIN + 8;
const STATE = WORD + 16;
const SPARE = STATE + 16;
const WIDE_LOCALS = 3 + 8 + 16 + 16 + 4;

function hashCode(): WasmCode {
  const code = new WasmCode().get(CHUNK).splat().countUp().get(STEP).splat().timesWords().plusWords().set(NUMBERS).loop();
  for (let lane = 0; lane < LANES; lane++)
    code
      .get(INPUTS)
      .load(lane * 4)
      .set(IN + lane);
  code.get(LENGTHS).loadWords(0).set(LEFT).get(EVERY).get(FIRST_ONLY).or().set(FLAGS);
  for (let i = 0; i < 8; i++) code.words(IV[i]! | 0).set(CHAIN + i);
  code.loop();
  loadBlock(code);
  compress(code);
  for (let lane = 0; lane < LANES; lane++) addTo(code, IN + lane, BLOCK_BYTES);
  code.get(EVERY).set(FLAGS).get(LEFT).words(BLOCK_BYTES).minusWords().set(LEFT);
  code.get(LEFT).words(0).areAbove().isAnyTrue().branchIf(0).end();
  transpose(code, CHAIN, WORD);
  transpose(code, CHAIN + 4, WORD + 4);
  for (let lane = 0; lane < LANES; lane++) {
    code
      .get(OUTPUTS)
      .load(lane * 4)
      .tee(MASK)
      .get(WORD + lane)
      .storeWords(0);
    code
      .get(MASK)
      .get(WORD + 4 + lane)
      .storeWords(16);
  }
  for (const column of [INPUTS, LENGTHS, OUTPUTS]) addTo(code, column, 4 * LANES);
  code.get(NUMBERS).get(STEP).number(LANES).times().splat().plusWords().set(NUMBERS);
  return code.get(COUNT).number(LANES).minus().tee(COUNT).number(0).isAbove().branchIf(0).end();
}

function addTo(code: WasmCode, local: number, value: number): void {
  code.get(local).number(value).plus().set(local);
}

/** The block's words, a register for each of them. */
function loadBlock(code: WasmCode): void {
  code.get(LEFT).words(BLOCK_BYTES).min().words(0).max().set(SIZE);
  for (let lane = 0; lane < LANES; lane++)
    code
      .number(MASK_AT + BLOCK_BYTES)
      .get(SIZE)
      .word(lane)
      .minus()
      .set(MASK + lane);
  for (let part = 0; part < 4; part++) {
    const to = WORD + part * 4;
    for (let lane = 0; lane < LANES; lane++) {
      code.get(IN + lane).loadWords(part * 16);
      code
        .get(MASK + lane)
        .loadWords(part * 16)
        .andWords()
        .set(to + lane);
    }
    transpose(code, to, to);
  }
}

/** Four registers of four words each, from `from` on: rows for columns, from `to` on. */
function transpose(code: WasmCode, from: number, to: number): void {
  for (let i = 0; i < 2; i++) {
    code
      .get(from + 2 * i)
      .get(from + 2 * i + 1)
      .pickWords([0, 4, 1, 5])
      .set(SPARE + i);
    code
      .get(from + 2 * i)
      .get(from + 2 * i + 1)
      .pickWords([2, 6, 3, 7])
      .set(SPARE + 2 + i);
  }
  for (let i = 0; i < 2; i++) {
    code
      .get(SPARE + 2 * i)
      .get(SPARE + 2 * i + 1)
      .pickWords([0, 1, 4, 5])
      .set(to + 2 * i);
    code
      .get(SPARE + 2 * i)
      .get(SPARE + 2 * i + 1)
      .pickWords([2, 3, 6, 7])
      .set(to + 2 * i + 1);
  }
}

function compress(code: WasmCode): void {
  for (let i = 0; i < 8; i++) code.get(CHAIN + i).set(STATE + i);
  for (let i = 0; i < 4; i++) code.words(IV[i]! | 0).set(STATE + 8 + i);
  code
    .get(NUMBERS)
    .set(STATE + 12)
    .words(0)
    .set(STATE + 13)
    .get(SIZE)
    .set(STATE + 14);
  code.get(LEFT).words(BLOCK_BYTES).areUpTo().get(LAST_ONLY).splat().andWords();
  code
    .get(FLAGS)
    .splat()
    .orWords()
    .set(STATE + 15);
  let order = Array.from({ length: 16 }, (_, i) => WORD + i);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, [a, b, c, d]] of QUARTERS.entries()) {
      mix(code, STATE + a, STATE + b, STATE + c, STATE + d, order[2 * i]!, 16, 12);
      mix(code, STATE + a, STATE + b, STATE + c, STATE + d, order[2 * i + 1]!, 8, 7);
    }
    order = PERMUTATION.map((from) => order[from]!);
  }
  for (let i = 0; i < 8; i++) {
    code
      .get(STATE + i)
      .get(STATE + 8 + i)
      .xorWords()
      .get(CHAIN + i);
    code
      .get(LEFT)
      .words(0)
      .areAbove()
      .choose()
      .set(CHAIN + i);
  }
}

/** Half a quarter round. */
function mix(code: WasmCode, a: number, b: number, c: number, d: number, word: number, turnD: number, turnB: number): void {
  code.get(a).get(b).plusWords().get(word).plusWords().set(a);
  turn(code.get(d).get(a).xorWords().set(d), d, turnD);
  code.get(c).get(d).plusWords().set(c);
  turn(code.get(b).get(c).xorWords().set(b), b, turnB);
}

/** The words of `local` turned right. By 8 bits a shuffle would do, too, which the runtime makes a slower one of. */
function turn(code: WasmCode, local: number, bits: number): void {
  if (bits === 16) {
    code.get(local).get(local).swapHalves().set(local);
    return;
  }
  code.get(local).number(bits).shiftWordsRight();
  code
    .get(local)
    .number(32 - bits)
    .shiftWordsLeft();
  code.orWords().set(local);
}

// Locals of `crc`: parameters, then eight bytes as two words.
const [AT, LENGTH, SUM, FIRST, SECOND] = [0, 1, 2, 3, 4];

/** Eight bytes a step, a table for each. */
function crcCode(): WasmCode {
  const code = new WasmCode().get(SUM).number(-1).xor().set(SUM);
  whileLeft(code, 8, () => {
    code.get(AT).load(0).get(SUM).xor().set(FIRST).get(AT).load(4).set(SECOND);
    for (let byte = 0; byte < 8; byte++) {
      addTable(code, byte < 4 ? FIRST : SECOND, byte % 4, 7 - byte);
      if (byte > 0) code.xor();
    }
    code.set(SUM);
  });
  whileLeft(code, 1, () => {
    code.get(SUM).get(AT).loadByte(0).xor().set(FIRST);
    addTable(code, FIRST, 0, 0);
    code.get(SUM).number(8).shiftRight().xor().set(SUM);
  });
  return code.get(SUM).number(-1).xor();
}

/** Does `step` while so many bytes are left, and takes them. */
function whileLeft(code: WasmCode, bytes: number, step: () => void): void {
  code.block().loop().get(LENGTH).number(bytes).isBelow().branchIf(1);
  step();
  addTo(code, AT, bytes);
  addTo(code, LENGTH, -bytes);
  code.branch(0).end().end();
}

/** What a table says of a byte of a local. */
function addTable(code: WasmCode, local: number, byte: number, table: number): void {
  code.get(local);
  if (byte === 0) code.number(2).shiftLeft();
  else code.number(byte * 8 - 2).shiftRight();
  code
    .number(0x3fc)
    .and()
    .load(TABLES_AT + table * TABLE_BYTES);
}

/** Ones, and the tables: the first of what a byte does to the sum, each other of what it does a byte later than the one before. */
function fillMemory(memory: ArrayBuffer): void {
  new Uint8Array(memory).fill(0xff, MASK_AT, MASK_AT + BLOCK_BYTES);
  const tables = new Uint32Array(memory, TABLES_AT, TABLES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let sum = byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) === 0 ? sum >>> 1 : (sum >>> 1) ^ CRC_POLYNOMIAL;
    tables[byte] = sum;
  }
  for (let i = 256; i < tables.length; i++) tables[i] = (tables[i - 256]! >>> 8) ^ tables[tables[i - 256]! & 0xff]!;
}

let made: LaneKernel | undefined;
let isAsked = false;

/** Undefined where the runtime has no wide registers. The first time takes some milliseconds: for who has much to hash. */
export function laneKernel(): LaneKernel | undefined {
  if (isAsked) return made;
  isAsked = true;
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal };
  const code = wasmModule(Math.ceil((KERNEL_BYTES + WORK_BYTES) / PAGE_BYTES), [
    { name: 'hash', parameters: PARAMETERS, returns: false, locals: LOCALS, wideLocals: WIDE_LOCALS, code: hashCode() },
    { name: 'crc', parameters: 3, returns: true, locals: 2, wideLocals: 0, code: crcCode() },
  ]);
  if (!WebAssembly.validate(code)) return undefined;
  const { memory, hash, crc } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports as Exports;
  const { buffer } = memory;
  fillMemory(buffer);
  made = { hash, crc, bytes: new Uint8Array(buffer), words: new Uint32Array(buffer), view: new DataView(buffer) };
  return made;
}
