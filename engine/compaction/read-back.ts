/** Reads a rewritten segment back before it may stand in for others: what is on the disk is what was meant, or there is no target. */
import { equalBytes } from '../format/bytes.js';
import type { Trailer } from '../format/footer.js';
import { FRAME_DATA, FRAME_HEAD_BYTES } from '../format/frame.js';
import { Blake3Stream } from '../format/hash.js';
import type { LogContext } from '../log/context.js';
import type { Segment } from '../log/segment-state.js';
import { corrupt, type FrameSums, hashedFrames, readContentHash, readTrailer } from './segment-ends.js';

/**
 * Every checksum, the BLAKE3, and every frame unpacked to the very batches that were meant, `written`, whose records were checked one by
 * one as they were taken over. Throws CORRUPT.
 */
export async function readBack(
  context: LogContext,
  target: Segment,
  path: string,
  written: FrameSums,
  pace: (bytes: number) => Promise<void>,
): Promise<Trailer> {
  const file = context.platform.files.open(path, 'read');
  const hash = new Blake3Stream();
  try {
    for (const { bytes, at, head, offset } of hashedFrames(file, target, hash)) {
      const from = at + FRAME_HEAD_BYTES;
      if (head.kind === FRAME_DATA && !written.matchesNext(bytes, from, from + head.payloadBytes))
        throw corrupt(target, offset, 'a frame was written unsound');
      await pace(head.length);
    }
    const trailer = readTrailer(file, target);
    if (trailer !== undefined && written.allMatched && equalBytes(readContentHash(file, target, trailer), hash.digest())) return trailer;
    throw corrupt(target, 0, 'what was written is not what was meant');
  } finally {
    hash.free();
    file.close();
  }
}
