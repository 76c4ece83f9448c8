/**
 * Growable bytes in pages, cheap to copy: copies share their pages until one of them writes to one.
 *
 * A power cut is tried out thousands of times a second on the same disk, and changes a few sectors of it. Bytes
 * beyond the size, and pages never written, are zero.
 */
const PAGE = 4096;

export class PagedBytes {
  readonly #pages: (Uint8Array | undefined)[];
  /** The pages that nobody else has. */
  readonly #own = new Set<number>();
  #size: number;

  constructor(pages: (Uint8Array | undefined)[] = [], size = 0) {
    this.#pages = pages;
    this.#size = size;
  }

  static of(bytes: Uint8Array): PagedBytes {
    const paged = new PagedBytes();
    paged.put(bytes, 0);
    return paged;
  }

  get size(): number {
    return this.#size;
  }

  /** A copy; both share all pages from here on. */
  share(): PagedBytes {
    this.#own.clear();
    return new PagedBytes(this.#pages.slice(), this.#size);
  }

  /** Copies `from` up to `to`, or up to the end, to `into` at `offset`; returns how many bytes. */
  copy(into: Uint8Array, offset: number, from: number, to: number): number {
    const end = Math.min(to, this.#size);
    for (let at = from; at < end; ) {
      const page = Math.floor(at / PAGE);
      const start = at - page * PAGE;
      const count = Math.min(PAGE - start, end - at);
      const bytes = this.#pages[page];
      const target = offset + at - from;
      if (bytes === undefined) into.fill(0, target, target + count);
      else into.set(bytes.subarray(start, start + count), target);
      at += count;
    }
    return Math.max(0, end - from);
  }

  slice(from = 0, to = this.#size): Buffer {
    const bytes = Buffer.alloc(Math.max(0, Math.min(to, this.#size) - from));
    this.copy(bytes, 0, from, to);
    return bytes;
  }

  /** Overwrites, and grows as needed; the size never shrinks. */
  put(bytes: Uint8Array, position: number): void {
    for (let at = 0; at < bytes.length; ) {
      const page = Math.floor((position + at) / PAGE);
      const start = position + at - page * PAGE;
      const count = Math.min(PAGE - start, bytes.length - at);
      this.#ownPage(page).set(bytes.subarray(at, at + count), start);
      at += count;
    }
    this.#size = Math.max(this.#size, position + bytes.length);
  }

  resize(size: number): void {
    if (size < this.#size) {
      const kept = Math.ceil(size / PAGE);
      for (let page = kept; page < this.#pages.length; page++) this.#own.delete(page);
      this.#pages.length = Math.min(this.#pages.length, kept);
      const start = size % PAGE;
      if (start !== 0 && this.#pages[kept - 1] !== undefined) this.#ownPage(kept - 1).fill(0, start);
    }
    this.#size = size;
  }

  #ownPage(page: number): Uint8Array {
    const bytes = this.#pages[page];
    if (bytes !== undefined && this.#own.has(page)) return bytes;
    const own = bytes === undefined ? new Uint8Array(PAGE) : bytes.slice();
    // No holes: a sparse array would be a slow one.
    while (this.#pages.length < page) this.#pages.push(undefined);
    this.#pages[page] = own;
    this.#own.add(page);
    return own;
  }
}
