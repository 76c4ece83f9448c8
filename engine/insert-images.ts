/**
 * Plain puts as they are read from a text: each is written where it stands in the record that becomes of it, and nothing is made of its
 * names and its body but that. For those who read JSON without making values of it; everyone else hands over items (batch.ts).
 *
 *   begin -> name, body, in any order -> end        arena:  image | image | …      (each behind room for a batch's head, where `isEach`)
 *
 * Invariants: what is taken is what `prepareBatch` would take, with the same images; whatever is not plainly so is refused with `false`,
 * and says nothing of what is wrong. Keys are the bytes that stand in the text: it must not change. UTF-8 is left to the caller, who is told by
 * `sawHighBytes` that there is something to check. The arena goes to the batch that `prepared` makes; else `release` gives it back.
 */
import type { BatchLimits, PreparedBatch, PreparedItem } from './batch.js';
import { assert } from './errors.js';
import { BATCH_FIXED_BYTES } from './format/batch.js';
import { ByteArena } from './format/byte-arena.js';
import { utf8Text, view } from './format/bytes.js';
import { appendCanonicalBytes, endCanonicalBytes, sawHighBytes } from './format/canonical-bytes.js';
import { checkCollection, checkKey, isSystemCollection } from './format/keys.js';
import { MAX_KEY_BYTES, MAX_RECORDS_PER_BATCH, SALT_BYTES } from './format/limits.js';
import { endRecordImage, imageKeyAt, openRecordImage } from './format/record.js';
import { KIND_PUT } from './log/types.js';
import type { InsertItem } from './types.js';

const NO_REFS: PreparedItem['refs'] = Object.freeze([]);
const DOT = 0x2e;
const DELETE = 0x7f;

/** Its key is made a string for who asks for that. */
class ImageItem implements PreparedItem {
  readonly kind = KIND_PUT;
  readonly deleted = false;
  readonly refs = NO_REFS;
  readonly expect = undefined;

  constructor(
    readonly collection: string,
    readonly collectionBytes: Uint8Array,
    readonly keySource: Uint8Array,
    readonly keyFrom: number,
    readonly keyTo: number,
    readonly at: number,
    readonly keyAt: number,
    readonly saltAt: number,
    readonly end: number,
  ) {}

  get key(): string {
    const { keySource: source, keyFrom, keyTo } = this;
    return utf8Text(view(source, 0, source.length), keyFrom, keyTo);
  }
}

export class InsertImages {
  /** Every one is to be a batch of its own. */
  readonly isEach: boolean;
  readonly #arena = ByteArena.take();
  #isHandedOver = false;
  readonly #items: ImageItem[] = [];
  #noted = false;
  /** As `prepareBatch` counts them. */
  #bytes = 0;
  #largestBody = 0;
  #collection = '';
  #collectionBytes: Uint8Array = new Uint8Array(0);
  /** Of the item that is being read. */
  #at = 0;
  #source: Uint8Array = this.#collectionBytes;
  #keyFrom = 0;
  #keyTo = 0;
  #saltAt = 0;

  constructor(isEach: boolean) {
    this.isEach = isEach;
  }

  get items(): readonly { readonly collection: string; readonly key: string }[] {
    return this.#items;
  }

  /** Begins an item, in place of one that was not ended. */
  begin(): void {
    const arena = this.#arena;
    const last = this.#items[this.#items.length - 1];
    arena.end = last === undefined ? 0 : imageEnd(last);
    if (this.isEach) {
      arena.reserve(BATCH_FIXED_BYTES);
      arena.end += BATCH_FIXED_BYTES;
    }
    this.#at = arena.end;
  }

  /** The item's collection, and its key: `source[from, to)`, without escapes; `bits`: of all its bytes. False where one of them is no name. */
  name(collection: string, source: Uint8Array, from: number, to: number, bits: number): boolean {
    if ((collection !== this.#collection || collection === '') && !this.#isCollection(collection)) return false;
    if (bits < 0x80 ? !isAsciiKey(source, from, to) : !this.#isKey(source, from, to)) return false;
    this.#source = source;
    this.#keyFrom = from;
    this.#keyTo = to;
    this.#saltAt = openRecordImage(this.#arena, this.#at, this.#collectionBytes, source, from, to);
    return true;
  }

  /** Takes the value at `from` (behind white space, if any). The offset behind it, or -1 where it is not plainly well-formed JSON that ends by `to`. */
  body(text: Uint8Array, from: number, to: number, maxBytes: number): number {
    const arena = this.#arena;
    const start = arena.end;
    const behind = appendCanonicalBytes(arena, text, from, to);
    const bytes = arena.end - start;
    if (behind < 0 || bytes > maxBytes) return -1;
    this.#largestBody = Math.max(this.#largestBody, bytes);
    return behind;
  }

  /** The item has all it needs. */
  end(): void {
    const at = this.#at;
    const collection = this.#collectionBytes;
    const end = endRecordImage(this.#arena, at);
    const keyAt = imageKeyAt(at, 0, collection.length);
    const saltAt = this.#saltAt;
    this.#bytes += end - keyAt - SALT_BYTES + collection.length;
    this.#items.push(new ImageItem(this.#collection, collection, this.#source, this.#keyFrom, this.#keyTo, at, keyAt, saltAt, end));
  }

  /** Forgets the last item. */
  cutLast(): void {
    this.#items.pop();
  }

  /** As if a text had bytes beyond ASCII: for what is read beside names and bodies. */
  noteHighBytes(): void {
    this.#noted = true;
  }

  /** Whether there were bytes beyond ASCII since the last call: they are UTF-8 only if the caller finds so. */
  sawHighBytes(): boolean {
    const saw = sawHighBytes() || this.#noted;
    this.#noted = false;
    return saw;
  }

  /** Their batch, or undefined where they are too many or too large for one. It is the batch's from here on. */
  prepared({ maxBodyBytes, maxBatchBytes }: BatchLimits): PreparedBatch | undefined {
    assert(!this.#isHandedOver, 'images are inserted once');
    const items = this.#items;
    const { length } = items;
    if (length === 0 || length > MAX_RECORDS_PER_BATCH) return undefined;
    if (this.#bytes > maxBatchBytes || this.#largestBody > maxBodyBytes) return undefined;
    this.#arena.end = imageEnd(items[length - 1]!);
    this.#isHandedOver = true;
    return { items, arena: this.#arena, isEach: this.isEach };
  }

  /** The same as items, good until they are handed over or released. */
  asItems(): readonly InsertItem[] {
    assert(!this.#isHandedOver, 'images are inserted once');
    const { bytes } = this.#arena;
    return this.#items.map(({ collection, key, saltAt, end }) => ({
      collection,
      key,
      bodyBytes: bytes.subarray(saltAt + SALT_BYTES, end),
    }));
  }

  /** Nothing is added from here on. */
  release(): void {
    if (!this.#isHandedOver) this.#arena.giveBack();
    this.#isHandedOver = true;
    endCanonicalBytes();
  }

  #isCollection(name: string): boolean {
    try {
      checkCollection(name);
    } catch {
      return false;
    }
    if (isSystemCollection(name)) return false;
    this.#collection = name;
    this.#collectionBytes = new TextEncoder().encode(name);
    return true;
  }

  #isKey(source: Uint8Array, from: number, to: number): boolean {
    this.#noted = true;
    try {
      checkKey(utf8Text(view(source, 0, source.length), from, to));
    } catch {
      return false;
    }
    return to - from <= MAX_KEY_BYTES;
  }
}

/** Behind the checksum. */
function imageEnd({ end }: ImageItem): number {
  return end + CRC_BYTES;
}

const CRC_BYTES = 4;

/** Control characters stand in no JSON string, but for this one. */
function isAsciiKey(source: Uint8Array, from: number, to: number): boolean {
  const length = to - from;
  if (length === 0 || length > MAX_KEY_BYTES) return false;
  if (source[from] === DOT && (length === 1 || (length === 2 && source[from + 1] === DOT))) return false;
  for (let i = from; i < to; i++) if (source[i] === DELETE) return false;
  return true;
}
