/** What a rewrite needs to know of the ends of a segment file, and what it will not put up with in the middle. */

import type { VarveError } from '../errors.js';
import { corrupt as corruptAt } from '../format/bytes.js';
import { decodeFooter, decodeTrailer, TRAILER_BYTES, type Trailer } from '../format/footer.js';
import type { Blake3Stream } from '../format/hash.js';
import { SEGMENT_HEADER_BYTES } from '../format/segment.js';
import { type ScannedFrame, scanFrames } from '../log/frame-scanner.js';
import type { Segment } from '../log/segment-state.js';
import type { File } from '../platform/platform.js';

/** Every frame, `hash` taking in all the bytes of the file up to the footer. Throws CORRUPT for bad bytes. */
export function* hashedFrames(file: File, segment: Segment, hash: Blake3Stream): Generator<ScannedFrame, void, undefined> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  file.read(header, 0, header.length, 0);
  hash.update(header);
  for (const scanned of scanFrames(file, segment.place, SEGMENT_HEADER_BYTES, segment.dataEnd)) {
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

/** A set of ascending seqs, told apart from others by how many they are and by two sums over them. */
export class SeqSum {
  #count = 0;
  #sum = 0;
  #mixed = 0;

  add(seq: number): void {
    this.#count++;
    this.#sum = (this.#sum + seq) % Number.MAX_SAFE_INTEGER;
    this.#mixed = (Math.imul(this.#mixed, 31) + (seq | 0)) | 0;
  }

  equals(other: SeqSum): boolean {
    return this.#count === other.#count && this.#sum === other.#sum && this.#mixed === other.#mixed;
  }
}
