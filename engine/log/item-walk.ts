/**
 * Walks the items of a segment by their lengths: records, events, heads of batches and frames, ends of frames.
 *
 * The walk trusts nothing and checks nothing: whatever it lands on must be checked by who asked for it.
 */
import { BATCH_LAST_SEQ_AT, BATCH_TAG } from '../format/batch.js';
import { align8, getU32, getU48 } from '../format/bytes.js';
import { EVENT_TAG, eventLengthAt } from '../format/event.js';
import { END_TAG, FRAME_HEAD_BYTES, FRAME_LAST_SEQ_AT, FRAME_TAG, FRAME_TAIL_BYTES, frameLengthAt } from '../format/frame.js';
import { RECORD_SEQ_AT, RECORD_TAG } from '../format/record.js';

/** Position of the record with this seq in `bytes[from, end)`, which begins with an item; `offset` is the file's at `bytes[0]`. -1 where the walk does not meet it. */
export function walkToSeq(bytes: Buffer, from: number, end: number, offset: number, seq: number): number {
  for (let at = from; at < end; ) {
    const tag = bytes[at];
    if (tag === RECORD_TAG) {
      if (at + RECORD_SEQ_AT + 6 > end) return -1;
      const here = getU48(bytes, at + RECORD_SEQ_AT);
      if (here >= seq) return here === seq ? at : -1;
      const length = getU32(bytes, at + 4);
      if (length === 0) return -1;
      at += length;
    } else {
      const next = afterItem(bytes, at, end, offset, seq);
      if (next <= at) return -1;
      at = next;
    }
  }
  return -1;
}

/** Where the walk goes on after an item that is no record: into a batch or frame that may hold `seq`, past any other (0: into each). */
export function afterItem(bytes: Buffer, at: number, end: number, offset: number, seq: number): number {
  switch (bytes[at]) {
    case BATCH_TAG: {
      if (at + BATCH_LAST_SEQ_AT + 6 > end) return -1;
      return at + (getU48(bytes, at + BATCH_LAST_SEQ_AT) < seq ? getU32(bytes, at + 4) : bytes[at + 2]! | (bytes[at + 3]! << 8));
    }
    case EVENT_TAG:
      return at + eventLengthAt(bytes, at, end);
    case END_TAG:
      return align8(offset + at + FRAME_TAIL_BYTES) - offset;
    case FRAME_TAG: {
      if (at + FRAME_HEAD_BYTES > end) return -1;
      const length = frameLengthAt(bytes, at, end);
      if (length === 0) return -1;
      return at + (getU48(bytes, at + FRAME_LAST_SEQ_AT) < seq ? length : FRAME_HEAD_BYTES);
    }
    default:
      return -1;
  }
}
