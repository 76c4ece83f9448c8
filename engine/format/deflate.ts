/**
 * Deflates the blocks of a frame (RFC 1951) several times as fast as zlib does, and nearly as small.
 *
 *   blocks -> tokens, counted over all of them -> a set of codes -> each block: header with the codes | tokens in codes | end
 *
 * The loops are deflate-kernel.ts's. To make codes takes as long as packing two blocks: all blocks of a run share theirs, and say them each,
 * so that each is read alone; a run takes those of the one before where they suit it as well. So there is a code for whatever may come.
 *
 * Invariants: what comes out depends on the blocks alone that this deflater was given. The kernel's memory is used from `add` to the last `deflated`, in which nobody
 * else may use it: nothing here is asynchronous. A crash loses nothing.
 */
import { assert } from '../errors.js';
import {
  type DeflateKernel,
  DISTANCE_CODES_AT,
  DISTANCE_COUNTS_AT,
  DISTANCE_SYMBOLS,
  DISTANCE_SYMBOLS_AT,
  deflateKernel,
  END_CODE_AT,
  FIRST_LENGTH_SYMBOL,
  HEADER_BYTES,
  INPUT_AT,
  INPUT_BYTES,
  LENGTH_CODES_AT,
  LENGTH_SYMBOLS_AT,
  LITERAL_CODES_AT,
  LITERAL_COUNTS_AT,
  LITERAL_SYMBOLS,
  MAX_MATCH,
  MAX_PARSED_BYTES,
  OUTPUT_AT,
  TOKENS_AT,
} from './deflate-kernel.js';
import { codeLengths, codesOf } from './huffman.js';

const END_SYMBOL = 256;
const LENGTH_CODES = LITERAL_SYMBOLS - FIRST_LENGTH_SYMBOL;
const MOST_BITS = 15;
const MIN_MATCH = 3;
/** Codes for the lengths of codes: 0 to 15, then the last again 3 to 6 times, 3 to 10 zeros, 11 to 138 of them. */
const RUN_SYMBOLS = 19;
const MOST_RUN_BITS = 7;
const AGAIN = 16;
const ZEROS = 17;
const MANY_ZEROS = 18;
/** What else each of the last three says: how many bits of how many more than the least. */
const RUN_EXTRA_BITS = [2, 3, 7];
/** In which order their own lengths stand. */
const RUN_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const LEAST_RUN_LENGTHS = 4;
const LAST_BLOCK_WITH_CODES = 0b101;
/** A run takes another's codes where they need no more than this of the least that any could. Its own need 1.01 of it. */
const MOST_LOSS = 1.025;

/** Whose codes are in the kernel's memory. */
let whose: BlockDeflater | undefined;

export class BlockDeflater {
  readonly #kernel: DeflateKernel;
  readonly #literalCounts: Uint32Array;
  readonly #distanceCounts: Uint32Array;
  readonly #literalLengths = new Uint8Array(LITERAL_SYMBOLS);
  readonly #literalCodes = new Uint32Array(LITERAL_SYMBOLS);
  readonly #distanceLengths = new Uint8Array(DISTANCE_SYMBOLS);
  readonly #distanceCodes = new Uint32Array(DISTANCE_SYMBOLS);
  readonly #lengthBases = new Uint16Array(LENGTH_CODES);
  readonly #lengthExtraBits = new Uint8Array(LENGTH_CODES);
  readonly #header = new Header();
  #input = INPUT_AT;
  #tokens = TOKENS_AT;
  /** Where each block's tokens end. */
  #ends: number[] = [];
  #areCodesMade = false;
  /** Of this run or of one before. */
  #hasCodes = false;

  private constructor(kernel: DeflateKernel) {
    this.#kernel = kernel;
    const { words } = kernel;
    this.#literalCounts = words.subarray(LITERAL_COUNTS_AT / 4, LITERAL_COUNTS_AT / 4 + LITERAL_SYMBOLS);
    this.#distanceCounts = words.subarray(DISTANCE_COUNTS_AT / 4, DISTANCE_COUNTS_AT / 4 + DISTANCE_SYMBOLS);
    this.#tellLengths();
    this.#tellDistances();
  }

  /** Undefined where this machine cannot. */
  static make(): BlockDeflater | undefined {
    const kernel = deflateKernel();
    return kernel === undefined ? undefined : new BlockDeflater(kernel);
  }

  /** Begins a run. */
  begin(): void {
    this.#input = INPUT_AT;
    this.#tokens = TOKENS_AT;
    this.#ends = [];
    this.#areCodesMade = false;
    // Of everything one, so that there is a code for it.
    this.#literalCounts.fill(1);
    this.#distanceCounts.fill(1);
  }

  /** The next block of the run; false, and nothing taken, where that is full or the block too long for any. */
  add(bytes: Uint8Array): boolean {
    const { length } = bytes;
    assert(length > 0 && !this.#areCodesMade, 'a run of blocks is added whole');
    if (length > MAX_PARSED_BYTES || this.#input + length > INPUT_AT + INPUT_BYTES) return false;
    const { bytes: memory } = this.#kernel;
    memory.set(bytes, this.#input);
    this.#tokens = this.#kernel.parse(this.#input, this.#input + length, this.#tokens);
    this.#input += length;
    this.#ends.push(this.#tokens);
    return true;
  }

  /** The block of this number, deflated: good until the next one. */
  deflated(block: number): Uint8Array {
    if (!this.#areCodesMade) this.#makeCodes();
    const { bytes: memory } = this.#kernel;
    const { bytes, count, bits } = this.#header;
    memory.set(bytes, OUTPUT_AT);
    const from = block === 0 ? TOKENS_AT : this.#ends[block - 1]!;
    return memory.subarray(OUTPUT_AT, this.#kernel.emit(from, this.#ends[block]!, OUTPUT_AT + bytes.length, count, bits));
  }

  #makeCodes(): void {
    this.#areCodesMade = true;
    this.#literalCounts[END_SYMBOL] = this.#ends.length;
    if (this.#hasCodes && this.#suits()) {
      if (whose !== this) this.#tellKernel();
      return;
    }
    codeLengths(this.#literalCounts, MOST_BITS, this.#literalLengths);
    codeLengths(this.#distanceCounts, MOST_BITS, this.#distanceLengths);
    this.#hasCodes = true;
    codesOf(this.#literalLengths, this.#literalCodes);
    codesOf(this.#distanceLengths, this.#distanceCodes);
    this.#header.make(this.#literalLengths, this.#distanceLengths);
    this.#tellKernel();
  }

  /** Whether the codes that are there do for what was counted. */
  #suits(): boolean {
    const bits = bitsOf(this.#literalCounts, this.#literalLengths) + bitsOf(this.#distanceCounts, this.#distanceLengths);
    return bits <= MOST_LOSS * (leastBitsOf(this.#literalCounts) + leastBitsOf(this.#distanceCounts));
  }

  #tellKernel(): void {
    whose = this;
    const { words } = this.#kernel;
    for (let symbol = 0; symbol <= END_SYMBOL; symbol++)
      words[LITERAL_CODES_AT / 4 + symbol] = (this.#literalCodes[symbol]! << 8) | this.#literalLengths[symbol]!;
    assert(END_CODE_AT === LITERAL_CODES_AT + END_SYMBOL * 4, 'the code of the end stands behind those of bytes');
    const symbols = this.#kernel.bytes;
    for (let length = MIN_MATCH; length <= MAX_MATCH; length++) {
      const i = symbols[LENGTH_SYMBOLS_AT + length]!;
      const bits = this.#literalLengths[FIRST_LENGTH_SYMBOL + i]!;
      const code = this.#literalCodes[FIRST_LENGTH_SYMBOL + i]! | ((length - this.#lengthBases[i]!) << bits);
      words[LENGTH_CODES_AT / 4 + length] = (code << 8) | (bits + this.#lengthExtraBits[i]!);
    }
    for (let symbol = 0; symbol < DISTANCE_SYMBOLS; symbol++) {
      const at = DISTANCE_CODES_AT / 4 + symbol * 4;
      const bits = this.#distanceLengths[symbol]!;
      words[at] = this.#distanceCodes[symbol]!;
      words[at + 1] = bits;
      words[at + 3] = bits + distanceExtraBits(symbol);
    }
  }

  /** 28 symbols for lengths of 3 to 257, four of them with as many extra bits, and one for 258. */
  #tellLengths(): void {
    const { bytes } = this.#kernel;
    let length = MIN_MATCH;
    for (let i = 0; i < LENGTH_CODES; i++) {
      const extra = i < 8 || i === LENGTH_CODES - 1 ? 0 : (i >> 2) - 1;
      if (i === LENGTH_CODES - 1) length = MAX_MATCH;
      this.#lengthBases[i] = length;
      this.#lengthExtraBits[i] = extra;
      for (let more = 0; more < 1 << extra && length <= MAX_MATCH; more++) bytes[LENGTH_SYMBOLS_AT + length++] = i;
    }
  }

  /** 30 symbols for distances of 1 to 32768, two of them with as many extra bits. */
  #tellDistances(): void {
    const { bytes, words } = this.#kernel;
    let least = 0;
    for (let symbol = 0; symbol < DISTANCE_SYMBOLS; symbol++) {
      const end = least + (1 << distanceExtraBits(symbol));
      words[DISTANCE_CODES_AT / 4 + symbol * 4 + 2] = least;
      for (let less = least; less < end; less += less < 256 ? 1 : 128)
        bytes[DISTANCE_SYMBOLS_AT + (less < 256 ? less : 256 + (less >> 7))] = symbol;
      least = end;
    }
  }
}

/** What so many of each symbol take, but for bits that are the same with any codes. */
function bitsOf(counts: Uint32Array, lengths: Uint8Array): number {
  let bits = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) bits += counts[symbol]! * lengths[symbol]!;
  return bits;
}

/** The same, were there codes of a part of a bit. Source: Shannon's entropy. */
function leastBitsOf(counts: Uint32Array): number {
  let all = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) all += counts[symbol]!;
  let bits = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) bits += counts[symbol]! * Math.log2(all / counts[symbol]!);
  return bits;
}

function distanceExtraBits(symbol: number): number {
  return symbol < 4 ? 0 : (symbol >> 1) - 1;
}

/** What a block with codes of its own begins with: those, themselves in a code. */
class Header {
  readonly #buffer = new Uint8Array(HEADER_BYTES);
  /** Whole bytes. */
  bytes: Uint8Array = this.#buffer;
  /** Behind them: how many bits, and which. */
  count = 0;
  bits = 0;
  #end = 0;
  readonly #lengths = new Uint8Array(LITERAL_SYMBOLS + DISTANCE_SYMBOLS);
  /** Symbols of runs, each with its extra bits above. */
  readonly #runs: number[] = [];
  readonly #runCounts = new Uint32Array(RUN_SYMBOLS);
  readonly #runLengths = new Uint8Array(RUN_SYMBOLS);
  readonly #runCodes = new Uint32Array(RUN_SYMBOLS);

  make(literals: Uint8Array, distances: Uint8Array): void {
    const literalCount = Math.max(FIRST_LENGTH_SYMBOL, usedOf(literals));
    const distanceCount = Math.max(1, usedOf(distances));
    const lengths = this.#lengths.subarray(0, literalCount + distanceCount);
    lengths.set(literals.subarray(0, literalCount));
    lengths.set(distances.subarray(0, distanceCount), literalCount);
    this.#findRuns(lengths);
    codeLengths(this.#runCounts, MOST_RUN_BITS, this.#runLengths);
    codesOf(this.#runLengths, this.#runCodes);
    let runLengths = RUN_SYMBOLS;
    while (runLengths > LEAST_RUN_LENGTHS && this.#runLengths[RUN_ORDER[runLengths - 1]!] === 0) runLengths--;
    this.count = this.bits = this.#end = 0;
    this.#put(LAST_BLOCK_WITH_CODES, 3);
    this.#put(literalCount - FIRST_LENGTH_SYMBOL, 5);
    this.#put(distanceCount - 1, 5);
    this.#put(runLengths - LEAST_RUN_LENGTHS, 4);
    for (let i = 0; i < runLengths; i++) this.#put(this.#runLengths[RUN_ORDER[i]!]!, 3);
    for (const run of this.#runs) {
      const symbol = run & 31;
      this.#put(this.#runCodes[symbol]!, this.#runLengths[symbol]!);
      if (symbol >= AGAIN) this.#put(run >> 5, RUN_EXTRA_BITS[symbol - AGAIN]!);
    }
    this.bytes = this.#buffer.subarray(0, this.#end);
  }

  #findRuns(lengths: Uint8Array): void {
    this.#runs.length = 0;
    this.#runCounts.fill(0);
    for (let at = 0; at < lengths.length; ) {
      const length = lengths[at]!;
      let end = at + 1;
      while (end < lengths.length && lengths[end] === length) end++;
      // Only zeros have runs without one before.
      if (length !== 0) {
        this.#addRun(length, 0);
        at++;
      }
      while (end - at >= 3) {
        const most = length !== 0 ? 6 : end - at <= 10 ? 10 : 138;
        const times = Math.min(end - at, most);
        if (length !== 0) this.#addRun(AGAIN, times - 3);
        else if (most === 10) this.#addRun(ZEROS, times - 3);
        else this.#addRun(MANY_ZEROS, times - 11);
        at += times;
      }
      for (; at < end; at++) this.#addRun(length, 0);
    }
  }

  #addRun(symbol: number, extra: number): void {
    this.#runs.push(symbol | (extra << 5));
    this.#runCounts[symbol]!++;
  }

  #put(value: number, bits: number): void {
    this.bits |= value << this.count;
    this.count += bits;
    for (; this.count >= 8; this.count -= 8, this.bits >>>= 8) this.#buffer[this.#end++] = this.bits & 0xff;
  }
}

/** Behind the last that is not 0. */
function usedOf(lengths: Uint8Array): number {
  let used = lengths.length;
  while (used > 0 && lengths[used - 1] === 0) used--;
  return used;
}
