/**
 * Reads a rewritten segment back before it may stand in for others: what is on the disk is what was meant, or there is no target.
 *
 * Every checksum, the BLAKE3, and every frame unpacked to the very batches that were meant, whose records were checked one by one as they
 * were taken over. Frames are read back as they get there, while others are still being made; the footer last.
 */
import { equalBytes } from '../format/bytes.js';
import type { Trailer } from '../format/footer.js';
import { FRAME_DATA, FRAME_HEAD_BYTES } from '../format/frame.js';
import { Blake3Stream } from '../format/hash.js';
import { SEGMENT_HEADER_BYTES } from '../format/segment.js';
import type { LogContext } from '../log/context.js';
import { ScanMemory, scanFrames } from '../log/frame-scanner.js';
import type { Segment } from '../log/segment-state.js';
import type { File } from '../platform/platform.js';
import { corrupt, FrameSums, readContentHash, readTrailer } from './segment-ends.js';

/** Holds a file and memory of the hash's own until `close`. */
export class ReadBack {
  /** The batches that are meant to be there: those of each frame are to be added before it is read. */
  readonly meant: FrameSums;
  readonly #target: Segment;
  readonly #file: File;
  readonly #hash = new Blake3Stream();
  readonly #memory = new ScanMemory();
  #through = 0;

  /** `target` need only know its place. */
  constructor(context: LogContext, target: Segment, path: string, meant = new FrameSums()) {
    this.#target = target;
    this.meant = meant;
    this.#file = context.platform.files.open(path, 'read');
  }

  /** Checked so far. */
  get through(): number {
    return this.#through;
  }

  /** Checks what is written up to `through`, the end of a frame; gives the bytes read of each. Throws CORRUPT. */
  *upTo(through: number): Generator<number, void, undefined> {
    const target = this.#target;
    if (this.#through === 0) {
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
      this.#file.read(header, 0, header.length, 0);
      this.#hash.update(header);
      this.#through = SEGMENT_HEADER_BYTES;
    }
    for (const scanned of scanFrames(this.#file, target.place, this.#through, through, this.#memory)) {
      if (scanned.kind === 'bad') throw corrupt(target, scanned.from, 'bytes fail their checksum');
      const { bytes, at, head, offset, stored } = scanned;
      const from = at + FRAME_HEAD_BYTES;
      if (head.kind === FRAME_DATA && !this.meant.matchesNext(bytes, from, from + head.payloadBytes))
        throw corrupt(target, offset, 'a frame was written unsound');
      this.#hash.update(stored);
      this.#through = offset + head.length;
      yield head.length;
    }
  }

  /** Once everything is written and checked: what the end of a file of so many bytes says. Throws CORRUPT. */
  finish(fileBytes: number): Trailer {
    const target = this.#target;
    target.fileBytes = fileBytes;
    const trailer = readTrailer(this.#file, target);
    const isWhole = trailer?.footerOffset === this.#through && this.meant.allMatched;
    if (isWhole && equalBytes(readContentHash(this.#file, target, trailer), this.#hash.digest())) return trailer;
    throw corrupt(target, 0, 'what was written is not what was meant');
  }

  close(): void {
    this.#hash.free();
    this.#file.close();
  }
}

/** All of a segment that is written whole. Throws CORRUPT. */
export async function readBack(
  context: LogContext,
  target: Segment,
  path: string,
  written: FrameSums,
  pace: (bytes: number) => Promise<void>,
): Promise<Trailer> {
  const reading = new ReadBack(context, target, path, written);
  try {
    for (const bytes of reading.upTo(target.dataEnd)) await pace(bytes);
    return reading.finish(target.fileBytes);
  } finally {
    reading.close();
  }
}
