/** What a rewrite needs to know of the ends of a segment file, and what it will not put up with in the middle. */

import type { VarveError } from '../errors.js';
import { corrupt as corruptAt, view } from '../format/bytes.js';
import { crc32 } from '../format/checksum.js';
import { decodeFooter, decodeTrailer, TRAILER_BYTES, type Trailer } from '../format/footer.js';
import type { Blake3Stream } from '../format/hash.js';
import { SEGMENT_HEADER_BYTES } from '../format/segment.js';
import { type ScanMemory, type ScannedFrame, scanFrames } from '../log/frame-scanner.js';
import type { Segment } from '../log/segment-state.js';
import type { File } from '../platform/platform.js';

/** Every frame, good until the next one, `hash` taking in all the bytes of the file up to the footer. Throws CORRUPT for bad bytes. */
export function* hashedFrames(
  file: File,
  segment: Segment,
  hash: Blake3Stream,
  memory: ScanMemory,
): Generator<ScannedFrame, void, undefined> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  file.read(header, 0, header.length, 0);
  hash.update(header);
  for (const scanned of scanFrames(file, segment.place, SEGMENT_HEADER_BYTES, segment.dataEnd, memory)) {
    if (scanned.kind === 'bad') throw corrupt(segment, scanned.from, 'bytes fail their checksum');
    hash.update(scanned.stored);
    yield scanned;
  }
}

export function readTrailer(file: File, segment: Segment): Trailer | undefined {
  const bytes = Buffer.alloc(TRAILER_BYTES);
  const count = file.read(bytes, 0, TRAILER_BYTES, segment.fileBytes - TRAILER_BYTES);
  return count < TRAILER_BYTES ? undefined : decodeTrailer(bytes, segment.place, segment.fileBytes);
}

/** BLAKE3 of everything before the footer, as the footer says. Throws CORRUPT where that is bad. */
export function readContentHash(file: File, segment: Segment, trailer: Trailer): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(trailer.footerBytes);
  const count = file.read(bytes, 0, bytes.length, trailer.footerOffset);
  const footer = decodeFooter(bytes.subarray(0, count), segment.place, trailer);
  if (footer === undefined) throw corrupt(segment, trailer.footerOffset, 'the footer is bad');
  return Uint8Array.from(footer.contentHash);
}

export function corrupt(segment: Segment, offset: number, what: string): VarveError {
  return corruptAt(segment.path, offset, what);
}

/** Checksums of the batches of each data frame, unpacked, in order: what was meant, to be compared with what is read back. */
export class FrameSums {
  readonly #sums: number[] = [];
  #compared = 0;

  /** The batches in `image[from, to)`. */
  add(image: Uint8Array, from: number, to: number): void {
    this.#sums.push(crc32(view(image, from, to)));
  }

  /** Whether they are those that were added next. */
  matchesNext(image: Uint8Array, from: number, to: number): boolean {
    return this.#sums[this.#compared++] === crc32(view(image, from, to));
  }

  get allMatched(): boolean {
    return this.#compared === this.#sums.length;
  }
}
