/**
 * Gives a sealed segment its index and idempotency table when first needed: from the footer, or, where that is bad, from
 * the frames again (law 2), which is reported.
 */
import { decodeFooter } from '../format/footer.js';
import type { LogContext } from './context.js';
import { IdempotencyTable } from './idempotency.js';
import { adoptFrames, surveySegment } from './segment-scan.js';
import type { Segment } from './segment-state.js';
import { SparseIndex } from './sparse-index.js';

/** After this `index` and `idempotency` are set. `onRebuilt` is told where the footer had to be derived anew. */
export function loadFooter(context: LogContext, segment: Segment, onRebuilt: (segment: Segment) => void): void {
  if (segment.index !== undefined) return;
  const trailer = segment.trailer!;
  const file = context.pool.use(segment);
  const bytes = Buffer.allocUnsafeSlow(trailer.footerBytes);
  const count = file.read(bytes, 0, bytes.length, trailer.footerOffset);
  const footer = decodeFooter(bytes.subarray(0, count), segment.place, trailer);
  if (footer !== undefined) {
    segment.index = new SparseIndex(footer.index);
    segment.idempotency = new IdempotencyTable(footer.idempotency);
    return;
  }
  context.report({
    kind: 'footer-rebuilt',
    file: segment.path,
    offset: trailer.footerOffset,
    fromSeq: 0,
    toSeq: 0,
    detail: 'the footer is bad; the index was read from the frames',
  });
  adoptFrames(context, segment, file, surveySegment(segment, file, trailer.footerOffset), trailer.lastSeq, Number.POSITIVE_INFINITY);
  onRebuilt(segment);
}
