/**
 * The two loops of packing, as one WebAssembly module, assembled here (deflate.ts says what they are for).
 *
 *   parse(from, to, tokens)                    what begins at `from` as tokens, counted; returns where they end
 *   emit(tokens, end, out, count, bits)        the bits of the tokens' codes and of the block's end, behind `count` bits that are there
 *                                              already; returns where the bytes end
 *
 * A token is a word: a byte as it is, or `length << 16 | distance` of bytes that stood there before. What stood where is asked of a table
 * with one place for each hash of four bytes, the newest of them, looked for by nobody else: quick, and nearly as good as zlib's chains on
 * what is stored here. Source: RFC 1951; the table is that of the LZ4 and Snappy formats' writers.
 *
 * Invariants: there is one, made when first asked for; its memory never grows. Nothing of a call is left to the next but what the caller put
 * there: the same bytes make the same tokens. Matches lie within [from, to); what lies up to 272 bytes behind may be read and does not count.
 */
import type { WebAssemblyGlobal } from './lane-kernel.js';
import { WasmCode, wasmModule } from './wasm-code.js';

/** The longest input of `parse`: distances fit deflate's window. */
export const MAX_PARSED_BYTES = 32 * 1024;
export const MIN_MATCH = 4;
export const MAX_MATCH = 258;
/** Symbols of literals, of the end, and of lengths, whose first is this. */
export const FIRST_LENGTH_SYMBOL = 257;
export const LITERAL_SYMBOLS = 286;
export const DISTANCE_SYMBOLS = 30;

/** u8: of each length, its symbol less the first. */
export const LENGTH_SYMBOLS_AT = 0;
/** u8: of each distance less one up to 256, then of each 128 of them. */
export const DISTANCE_SYMBOLS_AT = 512;
/** u32, one a symbol. */
export const LITERAL_COUNTS_AT = 1024;
export const DISTANCE_COUNTS_AT = LITERAL_COUNTS_AT + LITERAL_SYMBOLS * 4;
/** u32: bits of the code << 8 | how many; of each byte and of the end, then of each length, with its extra bits. */
export const LITERAL_CODES_AT = 2560;
export const END_CODE_AT = LITERAL_CODES_AT + 256 * 4;
export const LENGTH_CODES_AT = END_CODE_AT + 4;
/** Four u32 a symbol: code, bits of it, least distance less one, bits with the extra ones. */
export const DISTANCE_CODES_AT = 4864;
/** u16, one a hash. */
const PLACES_AT = 8192;
const HASH_BITS = 12;
const PLACES_BYTES = 2 << HASH_BITS;
const HASH_FACTOR = 0x9e3779b1 | 0;
/** Several inputs, one after the other, then what may be read behind. */
export const INPUT_AT = PLACES_AT + PLACES_BYTES;
export const INPUT_BYTES = 72 * 1024;
const SPARE_BYTES = 512;
export const TOKENS_AT = INPUT_AT + INPUT_BYTES + SPARE_BYTES;
/** Of one input, at worst: 15 bits a byte, a word that is not filled, and what stands before. */
export const OUTPUT_AT = TOKENS_AT + INPUT_BYTES * 4;
export const HEADER_BYTES = 512;
const OUTPUT_BYTES = 2 * MAX_PARSED_BYTES + HEADER_BYTES + 16;
const PAGE_BYTES = 65536;

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  parse(from: number, to: number, tokens: number): number;
  emit(tokens: number, end: number, out: number, count: number, bits: number): number;
}

export interface DeflateKernel extends Pick<Exports, 'parse' | 'emit'> {
  /** The memory, two ways. */
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
}

// Locals of `parse`: parameters, words, a long one.
const [FROM, TO, TOKENS, AT, VALUE, PLACE, BEFORE, LENGTH, DIFFERENCE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

function parseCode(): WasmCode {
  const code = new WasmCode().number(PLACES_AT).number(0).number(PLACES_BYTES).fill().get(FROM).set(AT);
  // A place that nobody took says 0, the first byte: it is a literal, and found as one that took its place.
  putLiteral(code.get(AT).loadByte(0).set(VALUE));
  code.block().loop().get(AT).get(TO).number(MIN_MATCH).minus().isAbove().branchIf(1);
  code.get(AT).load(0).tee(VALUE).number(HASH_FACTOR).times();
  code
    .number(32 - HASH_BITS)
    .shiftRight()
    .number(1)
    .shiftLeft()
    .tee(PLACE)
    .loadHalf(PLACES_AT)
    .get(FROM)
    .plus()
    .set(BEFORE);
  code.get(PLACE).get(AT).get(FROM).minus().storeHalf(PLACES_AT);
  code.block().get(BEFORE).load(0).get(VALUE).areEqual().branchIf(0);
  putLiteral(code.get(VALUE).number(0xff).and().set(VALUE));
  code.branch(1).end();
  measure(code);
  code.get(TOKENS).get(LENGTH).number(16).shiftLeft().get(AT).get(BEFORE).minus().tee(VALUE).or().store(0);
  count(code.get(LENGTH).loadByte(LENGTH_SYMBOLS_AT), LITERAL_COUNTS_AT + FIRST_LENGTH_SYMBOL * 4);
  distanceSymbol(code.get(VALUE).number(1).minus().set(VALUE), VALUE);
  count(code, DISTANCE_COUNTS_AT);
  add(code, TOKENS, 4);
  code.get(AT).get(LENGTH).plus().set(AT).branch(0).end().end();
  code.block().loop().get(AT).get(TO).areEqual().branchIf(1);
  putLiteral(code.get(AT).loadByte(0).set(VALUE));
  return code.branch(0).end().end().get(TOKENS);
}

/** VALUE, the byte at AT. */
function putLiteral(code: WasmCode): void {
  code.get(TOKENS).get(VALUE).store(0);
  count(code.get(VALUE), LITERAL_COUNTS_AT);
  add(code, TOKENS, 4);
  add(code, AT, 1);
}

/** How many bytes from BEFORE on are those from AT on, of which four are. */
function measure(code: WasmCode): void {
  code.number(MIN_MATCH).set(LENGTH).block().loop();
  code.get(BEFORE).get(LENGTH).plus().loadLong(0).get(AT).get(LENGTH).plus().loadLong(0).xorLong().tee(DIFFERENCE);
  code.isZeroLong().number(0).areEqual().branchIf(1);
  add(code, LENGTH, 8);
  code.get(LENGTH).number(MAX_MATCH).isBelow().branchIf(0).end().end();
  // Of no difference there are 64 zeros: no less than there may be.
  code.get(LENGTH).get(DIFFERENCE).trailingZerosLong().short().number(3).shiftRight().plus().set(LENGTH);
  atMost(code, () => code.number(MAX_MATCH));
  atMost(code, () => code.get(TO).get(AT).minus());
}

function atMost(code: WasmCode, most: () => void): void {
  most();
  code.get(LENGTH);
  most();
  code.get(LENGTH).isBelow().pick().set(LENGTH);
}

/** One more of the number on the stack, in the words at `from`. */
function count(code: WasmCode, from: number): void {
  code.number(2).shiftLeft().tee(PLACE).get(PLACE).load(from).number(1).plus().store(from);
}

/** Of the distance less one in `local`. */
function distanceSymbol(code: WasmCode, local: number): void {
  code.get(local).get(local).number(7).shiftRight().number(256).plus().get(local).number(256).isBelow().pick();
  code.loadByte(DISTANCE_SYMBOLS_AT);
}

function add(code: WasmCode, local: number, value: number): void {
  code.get(local).number(value).plus().set(local);
}

// Locals of `emit`.
const [NEXT, END, OUT, COUNT, BITS, TOKEN, ENTRY, BUFFER] = [0, 1, 2, 3, 4, 5, 6, 7];

function emitCode(): WasmCode {
  const code = new WasmCode().get(BITS).long().set(BUFFER).block().loop().get(NEXT).get(END).areEqual().branchIf(1);
  code.get(NEXT).load(0).set(TOKEN);
  add(code, NEXT, 4);
  code.block().block().get(TOKEN).number(256).isBelow().branchIf(0);
  putEntry(code.get(TOKEN).number(16).shiftRight().number(2).shiftLeft().load(LENGTH_CODES_AT));
  code.get(TOKEN).number(0xffff).and().number(1).minus().set(TOKEN);
  distanceSymbol(code, TOKEN);
  code.number(4).shiftLeft().set(ENTRY);
  code.get(BUFFER).get(ENTRY).load(DISTANCE_CODES_AT);
  code
    .get(TOKEN)
    .get(ENTRY)
    .load(DISTANCE_CODES_AT + 8)
    .minus()
    .get(ENTRY)
    .load(DISTANCE_CODES_AT + 4)
    .shiftLeft()
    .or();
  code.long().get(COUNT).long().shiftLongLeft().orLong().set(BUFFER);
  code
    .get(COUNT)
    .get(ENTRY)
    .load(DISTANCE_CODES_AT + 12)
    .plus()
    .set(COUNT)
    .branch(1)
    .end();
  putEntry(code.get(TOKEN).number(2).shiftLeft().load(LITERAL_CODES_AT));
  flush(code.end());
  code.branch(0).end().end();
  putEntry(code.number(0).load(END_CODE_AT));
  flush(code);
  // Bits of a byte that is not full are there: the whole word was.
  return code.get(OUT).get(COUNT).number(7).plus().number(3).shiftRight().plus();
}

/** The bits of the entry on the stack. */
function putEntry(code: WasmCode): void {
  code.set(ENTRY).get(BUFFER).get(ENTRY).number(8).shiftRight().long().get(COUNT).long().shiftLongLeft().orLong().set(BUFFER);
  code.get(COUNT).get(ENTRY).number(0xff).and().plus().set(COUNT);
}

/** Up to 55 bits lie ready, of which whole bytes go. */
function flush(code: WasmCode): void {
  code.get(OUT).get(BUFFER).storeLong(0).get(OUT).get(COUNT).number(3).shiftRight().plus().set(OUT);
  code.get(BUFFER).get(COUNT).number(0x38).and().long().shiftLongRight().set(BUFFER).get(COUNT).number(7).and().set(COUNT);
}

let made: DeflateKernel | undefined;
let isAsked = false;

/** Undefined where the runtime will not have it. The first time takes some milliseconds: for who has much to pack. */
export function deflateKernel(): DeflateKernel | undefined {
  if (isAsked) return made;
  isAsked = true;
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal };
  const code = wasmModule(Math.ceil((OUTPUT_AT + OUTPUT_BYTES) / PAGE_BYTES), [
    { name: 'parse', parameters: 3, returns: true, locals: 5, longLocals: 1, code: parseCode() },
    { name: 'emit', parameters: 5, returns: true, locals: 2, longLocals: 1, code: emitCode() },
  ]);
  if (!WebAssembly.validate(code)) return undefined;
  const { memory, parse, emit } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports as Exports;
  made = { parse, emit, bytes: new Uint8Array(memory.buffer), words: new Uint32Array(memory.buffer) };
  return made;
}
