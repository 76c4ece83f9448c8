/**
 * WebAssembly instructions, one after the other, and modules of them: as much of an assembler as lane-kernel.ts needs.
 *
 * Every method appends what its name says and returns the code, so that a computation reads in the order the machine does it.
 * Source: the WebAssembly core specification 2.0, chapter 5 (binary format). Nothing is checked here: the runtime validates a module.
 */
const I32 = 0x7f;
const V128 = 0x7b;
const WORD_BYTES = [0, 1, 2, 3];

export class WasmCode {
  readonly bytes: number[] = [];

  #put(...bytes: number[]): this {
    this.bytes.push(...bytes);
    return this;
  }

  #unsigned(value: number): this {
    let rest = value;
    for (; rest >= 0x80; rest >>>= 7) this.bytes.push((rest & 0x7f) | 0x80);
    this.bytes.push(rest);
    return this;
  }

  #signed(value: number): this {
    let rest = value;
    for (; rest < -0x40 || rest >= 0x40; rest >>= 7) this.bytes.push((rest & 0x7f) | 0x80);
    this.bytes.push(rest & 0x7f);
    return this;
  }

  // ---- locals, numbers, control

  get(local: number): this {
    return this.#put(0x20, local);
  }

  set(local: number): this {
    return this.#put(0x21, local);
  }

  /** Sets and leaves the value where it is. */
  tee(local: number): this {
    return this.#put(0x22, local);
  }

  number(value: number): this {
    return this.#put(0x41).#signed(value);
  }

  block(): this {
    return this.#put(0x02, 0x40);
  }

  loop(): this {
    return this.#put(0x03, 0x40);
  }

  end(): this {
    return this.#put(0x0b);
  }

  /** To the beginning of the loop, or the end of the block, that many levels out. */
  branch(levels: number): this {
    return this.#put(0x0c, levels);
  }

  branchIf(levels: number): this {
    return this.#put(0x0d, levels);
  }

  // ---- i32

  load(offset: number): this {
    return this.#put(0x28, 0).#unsigned(offset);
  }

  loadByte(offset: number): this {
    return this.#put(0x2d, 0).#unsigned(offset);
  }

  isBelow(): this {
    return this.#put(0x49);
  }

  /** Signed. */
  isAbove(): this {
    return this.#put(0x4a);
  }

  plus(): this {
    return this.#put(0x6a);
  }

  minus(): this {
    return this.#put(0x6b);
  }

  times(): this {
    return this.#put(0x6c);
  }

  and(): this {
    return this.#put(0x71);
  }

  or(): this {
    return this.#put(0x72);
  }

  xor(): this {
    return this.#put(0x73);
  }

  shiftLeft(): this {
    return this.#put(0x74);
  }

  shiftRight(): this {
    return this.#put(0x76);
  }

  // ---- v128, as four words

  loadWords(offset: number): this {
    return this.#put(0xfd, 0x00, 0).#unsigned(offset);
  }

  storeWords(offset: number): this {
    return this.#put(0xfd, 0x0b, 0).#unsigned(offset);
  }

  splat(): this {
    return this.#put(0xfd, 0x11);
  }

  /** The same number in each. */
  words(value: number): this {
    return this.number(value).splat();
  }

  /** 0, 1, 2, 3. */
  countUp(): this {
    this.#put(0xfd, 0x0c);
    for (const value of WORD_BYTES) this.#put(value, 0, 0, 0);
    return this;
  }

  word(lane: number): this {
    return this.#put(0xfd, 0x1b, lane);
  }

  /** 0 to 3 are the words of the first, 4 to 7 of the second. */
  pickWords(lanes: readonly number[]): this {
    this.#put(0xfd, 0x0d);
    for (const lane of lanes) for (const byte of WORD_BYTES) this.bytes.push(lane * 4 + byte);
    return this;
  }

  /** The halves of each word change places: two instructions where turns by other numbers of bits take three. */
  swapHalves(): this {
    return this.#put(0xfd, 0x0d, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  }

  areAbove(): this {
    return this.#put(0xfd, 0x3b);
  }

  areUpTo(): this {
    return this.#put(0xfd, 0x3d);
  }

  andWords(): this {
    return this.#put(0xfd, 0x4e);
  }

  orWords(): this {
    return this.#put(0xfd, 0x50);
  }

  xorWords(): this {
    return this.#put(0xfd, 0x51);
  }

  /** Of three: the bits of the first where the third has ones, of the second elsewhere. */
  choose(): this {
    return this.#put(0xfd, 0x52);
  }

  isAnyTrue(): this {
    return this.#put(0xfd, 0x53);
  }

  shiftWordsLeft(): this {
    return this.#put(0xfd, 0xab, 0x01);
  }

  shiftWordsRight(): this {
    return this.#put(0xfd, 0xad, 0x01);
  }

  plusWords(): this {
    return this.#put(0xfd, 0xae, 0x01);
  }

  minusWords(): this {
    return this.#put(0xfd, 0xb1, 0x01);
  }

  timesWords(): this {
    return this.#put(0xfd, 0xb5, 0x01);
  }

  /** Signed, as `max`. */
  min(): this {
    return this.#put(0xfd, 0xb6, 0x01);
  }

  max(): this {
    return this.#put(0xfd, 0xb8, 0x01);
  }
}

export interface WasmFunction {
  readonly name: string;
  /** All of 32 bits. */
  readonly parameters: number;
  /** Whether it returns 32 bits, or nothing. */
  readonly returns: boolean;
  /** Behind the parameters: words, then wide ones. */
  readonly locals: number;
  readonly wideLocals: number;
  readonly code: WasmCode;
}

/** A module with a memory that stays as it is, exported as `memory`, and these functions. */
export function wasmModule(pages: number, functions: readonly WasmFunction[]): Uint8Array {
  const count = functions.length;
  const types = functions.flatMap(({ parameters, returns }) => [
    ...[0x60, parameters, ...new Array<number>(parameters).fill(I32)],
    ...(returns ? [1, I32] : [0]),
  ]);
  const names = functions.flatMap(({ name }, i) => [...named(name), 0, i]);
  const bodies: number[] = [count];
  for (const { locals, wideLocals, code } of functions) {
    const head = [2, locals, I32, wideLocals, V128];
    append(bodies, unsigned(head.length + code.bytes.length + 1), head, code.bytes, [0x0b]);
  }
  const bytes = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  append(bytes, ...section(1, [count, ...types]), ...section(3, [count, ...functions.keys()]));
  append(bytes, ...section(5, [1, 1, ...unsigned(pages), ...unsigned(pages)]));
  append(bytes, ...section(7, [count + 1, ...named('memory'), 2, 0, ...names]), ...section(10, bodies));
  return new Uint8Array(bytes);
}

/** A loop: to spread thousands of bytes takes a millisecond each time. */
function append(to: number[], ...parts: readonly (readonly number[])[]): void {
  for (const part of parts) for (let i = 0; i < part.length; i++) to.push(part[i]!);
}

function section(id: number, content: readonly number[]): readonly (readonly number[])[] {
  return [[id], unsigned(content.length), content];
}

function named(name: string): number[] {
  return [name.length, ...Buffer.from(name, 'latin1')];
}

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}
