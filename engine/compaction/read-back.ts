/** Reads a rewritten segment back before it may stand in for others: what is on the disk is what was meant, or there is no target. */
import { decodeBatchHead } from '../format/batch.js';
import { equalBytes, getU48 } from '../format/bytes.js';
import type { Trailer } from '../format/footer.js';
import { FRAME_HEAD_BYTES } from '../format/frame.js';
import { Blake3Stream } from '../format/hash.js';
import { RECORD_SEQ_AT, recordIsIntact, recordLengthAt } from '../format/record.js';
import type { LogContext } from '../log/context.js';
import type { ScannedFrame } from '../log/frame-scanner.js';
import type { Segment } from '../log/segment-state.js';
import { corrupt, hashedFrames, readContentHash, readTrailer, SeqSum } from './segment-ends.js';

/** Every checksum, the BLAKE3, and exactly the records in `written`. Throws CORRUPT. */
export async function readBack(
  context: LogContext,
  target: Segment,
  path: string,
  written: SeqSum,
  pace: (bytes: number) => Promise<void>,
): Promise<Trailer> {
  const file = context.platform.files.open(path, 'read');
  const found = new SeqSum();
  const hash = new Blake3Stream();
  try {
    for (const frame of hashedFrames(file, target, hash)) {
      addSeqs(target, frame, found);
      await pace(frame.head.length);
    }
    const trailer = readTrailer(file, target);
    if (trailer !== undefined && found.equals(written) && equalBytes(readContentHash(file, target, trailer), hash.digest())) return trailer;
    throw corrupt(target, 0, 'what was written is not what was meant');
  } finally {
    hash.free();
    file.close();
  }
}

function addSeqs(target: Segment, { bytes, at, head, offset }: ScannedFrame, found: SeqSum): void {
  const end = at + FRAME_HEAD_BYTES + head.payloadBytes;
  for (let p = at + FRAME_HEAD_BYTES; p < end; ) {
    const batch = decodeBatchHead(bytes, p, end);
    if (batch === undefined) throw corrupt(target, offset + p - at, 'a batch was written unsound');
    const batchEnd = p + batch.totalBytes;
    for (let r = p + batch.headBytes; r < batchEnd && !batch.isEvent; ) {
      const length = recordLengthAt(bytes, r, batchEnd);
      if (length === 0 || !recordIsIntact(bytes, r, length, target.place.recordSeed))
        throw corrupt(target, offset + r - at, 'a record was written unsound');
      found.add(getU48(bytes, r + RECORD_SEQ_AT));
      r += length;
    }
    p = batchEnd;
  }
}
