/**
 * The content of one simulated file: what is durable, what the cache holds, and the changes between the two.
 *
 *   durable ──(changes since the last sync, in order)──▶ cache        reads see the cache
 *
 * A change is a write, kept as the image of the whole 512-byte sectors it touched as they were after it, or a
 * truncation. A sync applies to `durable` the changes made before it began. A power cut takes `durable` and
 * lets a chooser decide, in this order:
 *
 *   1. the size: the durable one, or any the file passed through since (a growing write passes through every
 *      sector boundary on its way);
 *   2. each changed sector below that size: the durable bytes (zeros where there were none), or those of any
 *      change since. Bytes that a truncation cut off stay gone if the size chosen is of that moment or later;
 *   3. if asked for, a tear in the last sector that is not the durable one: new bytes up to a cut, old after it.
 *
 * A failed sync either forgets the changes (`none`: reads see them, a crash loses them) or leaves them in limbo
 * (`some`: a crash may keep any of them, no later sync makes them safe). A sector that is written again is dirty
 * as a whole again, lost bytes beside the new ones included, as pages are.
 */
import type { Chooser } from './chooser.js';
import { PagedBytes } from './paged-bytes.js';

export const SECTOR = 512;

interface WriteChange {
  readonly kind: 'write';
  readonly stamp: number;
  readonly firstSector: number;
  /** Whole sectors. */
  readonly image: Uint8Array;
  readonly sizeBefore: number;
  readonly sizeAfter: number;
  limbo: boolean;
}

interface TruncateChange {
  readonly kind: 'truncate';
  readonly stamp: number;
  readonly sizeAfter: number;
  limbo: boolean;
}

type Change = WriteChange | TruncateChange;

export interface CrashOptions {
  /** Where the last kept sector may be torn, in bytes of it that are new; none by default. */
  readonly tear?: readonly number[];
  /** How a directory's unsynced entries survive: any of them (default), or only in order. */
  readonly directories?: 'any' | 'prefix';
}

export class FileContent {
  #durable: PagedBytes;
  #cache: PagedBytes;
  #changes: Change[] = [];
  #stamp = 0;

  constructor(durable: PagedBytes = new PagedBytes(), cache: PagedBytes = durable.share()) {
    this.#durable = durable;
    this.#cache = cache;
  }

  /** A file whose content is durable already. */
  static of(bytes: Uint8Array): FileContent {
    return new FileContent(PagedBytes.of(bytes));
  }

  get size(): number {
    return this.#cache.size;
  }

  /** A moment to sync up to: changes made later are not covered. */
  get stamp(): number {
    return this.#stamp;
  }

  /** A copy of all bytes as reads see them. */
  bytes(): Buffer {
    return this.#cache.slice();
  }

  /** Returns how many bytes there were to read. */
  read(into: Uint8Array, offset: number, length: number, position: number): number {
    return this.#cache.copy(into, offset, position, position + length);
  }

  write(bytes: Uint8Array, position: number): void {
    if (bytes.length === 0) return;
    const sizeBefore = this.#cache.size;
    this.#cache.put(bytes, position);
    const firstSector = Math.floor(position / SECTOR);
    const image = new Uint8Array((Math.ceil((position + bytes.length) / SECTOR) - firstSector) * SECTOR);
    this.#cache.copy(image, 0, firstSector * SECTOR, firstSector * SECTOR + image.length);
    this.#changes.push({ kind: 'write', stamp: ++this.#stamp, firstSector, image, sizeBefore, sizeAfter: this.#cache.size, limbo: false });
  }

  truncate(size: number): void {
    this.#cache.resize(size);
    this.#changes.push({ kind: 'truncate', stamp: ++this.#stamp, sizeAfter: size, limbo: false });
  }

  /** Makes the changes up to `stamp` durable. */
  sync(stamp: number): void {
    const left: Change[] = [];
    for (const change of this.#changes) {
      if (change.stamp > stamp || change.limbo) left.push(change);
      else if (change.kind === 'truncate') this.#durable.resize(change.sizeAfter);
      else {
        const position = change.firstSector * SECTOR;
        const size = Math.max(change.sizeAfter, this.#durable.size);
        this.#durable.put(change.image.subarray(0, size - position), position);
        if (this.#durable.size < size) this.#durable.resize(size);
      }
    }
    this.#changes = left;
  }

  failSync(stamp: number, keeps: 'none' | 'some'): void {
    if (keeps === 'none') this.#changes = this.#changes.filter((change) => change.stamp > stamp || change.limbo);
    else for (const change of this.#changes) if (change.stamp <= stamp) change.limbo = true;
  }

  /** Sectors that a crash now would have to decide about. */
  pendingSectors(): number {
    const sectors = new Set<number>();
    for (const change of this.#changes) {
      if (change.kind === 'write') for (let i = 0; i * SECTOR < change.image.length; i++) sectors.add(change.firstSector + i);
    }
    return sectors.size;
  }

  /** Changes the medium itself, under everybody's feet: the durable bytes and the cached ones. */
  damage(position: number, change: (byte: number) => number): void {
    for (const bytes of [this.#durable, this.#cache]) {
      if (position < bytes.size) bytes.put(Uint8Array.of(change(bytes.slice(position, position + 1)[0] ?? 0)), position);
    }
  }

  clone(): FileContent {
    const copy = new FileContent(this.#durable.share(), this.#cache.share());
    copy.#changes = this.#changes.map((change) => ({ ...change }));
    copy.#stamp = this.#stamp;
    return copy;
  }

  /** What a power cut now leaves. */
  crash(chooser: Chooser, options: CrashOptions): FileContent {
    if (this.#changes.length === 0) return new FileContent(this.#durable.share());
    const { size, stamp } = this.#chooseSize(chooser);
    const left = this.#durable.share();
    const cuts = this.#changes.filter((change) => change.kind === 'truncate' && change.stamp <= stamp);
    for (const cut of cuts) if (cut.sizeAfter < left.size) left.resize(cut.sizeAfter);
    left.resize(size);
    let lastKept: { position: number; old: Uint8Array } | undefined;
    for (const [sector, writes] of this.#changedSectors()) {
      const position = sector * SECTOR;
      if (position >= size) break;
      const answer = chooser.next(writes.length + 1);
      const kept = writes[answer - 1];
      if (kept === undefined) continue;
      lastKept = { position, old: left.slice(position, position + SECTOR) };
      const at = (sector - kept.firstSector) * SECTOR;
      const bytes = kept.image.slice(at, at + Math.min(SECTOR, size - position));
      for (const cut of cuts) if (cut.stamp > kept.stamp) bytes.fill(0, Math.max(0, cut.sizeAfter - position));
      left.put(bytes, position);
    }
    if (lastKept !== undefined && options.tear !== undefined && options.tear.length > 0) {
      const cut = options.tear[chooser.next(options.tear.length + 1) - 1];
      if (cut !== undefined && cut < lastKept.old.length) left.put(lastKept.old.subarray(cut), lastKept.position + cut);
    }
    return new FileContent(left);
  }

  #chooseSize(chooser: Chooser): { size: number; stamp: number } {
    const sizes = [{ size: this.#durable.size, stamp: 0 }];
    for (const change of this.#changes) {
      if (change.kind === 'write') {
        if (change.sizeAfter <= change.sizeBefore) continue;
        const first = Math.max(change.sizeBefore, change.firstSector * SECTOR);
        const boundary = (Math.floor(first / SECTOR) + 1) * SECTOR;
        for (let size = boundary; size < change.sizeAfter; size += SECTOR) sizes.push({ size, stamp: change.stamp });
      }
      sizes.push({ size: change.sizeAfter, stamp: change.stamp });
    }
    return sizes[chooser.next(sizes.length)] ?? { size: this.#durable.size, stamp: 0 };
  }

  #changedSectors(): [number, WriteChange[]][] {
    const sectors = new Map<number, WriteChange[]>();
    for (const change of this.#changes) {
      if (change.kind !== 'write') continue;
      for (let i = 0; i * SECTOR < change.image.length; i++) {
        const writes = sectors.get(change.firstSector + i);
        if (writes === undefined) sectors.set(change.firstSector + i, [change]);
        else writes.push(change);
      }
    }
    return [...sectors].sort(([a], [b]) => a - b);
  }
}
