/**
 * Gives a sealed segment its block table, its index and its idempotency table when first needed: from the footer, or, where that is bad, from
 * the frames again (law 2), which is reported.
 */
import { blockTableIsIntact, blockTableOffset, decodeFooter, REFS_UNTOLD, tableBytes } from '../format/footer.js';
import { BlockTable } from './block-table.js';
import type { LogContext } from './context.js';
import { IdempotencyTable } from './idempotency.js';
import { PackedTable } from './packed-table.js';
import { adoptFrames, surveySegment } from './segment-scan.js';
import type { Segment } from './segment-state.js';
import { SparseIndex } from './sparse-index.js';

/** Gives it its block table alone, if the trailer vouches for it: what a point read needs. */
export function loadBlockTable(context: LogContext, segment: Segment): void {
  const { trailer } = segment;
  if (segment.hasTable || trailer === undefined) return;
  const bytes = Buffer.allocUnsafeSlow(tableBytes(trailer));
  const count = context.pool.use(segment).read(bytes, 0, bytes.length, blockTableOffset(trailer));
  if (blockTableIsIntact(bytes.subarray(0, count), segment.place, trailer)) adoptTable(segment, bytes);
}

function adoptTable(segment: Segment, bytes: Uint8Array): void {
  if (segment.packed) segment.packedTable = new PackedTable(bytes);
  else segment.blockTable = BlockTable.from(bytes);
}

/** After this `index` and `idempotency` are set. `onRebuilt` is told where the footer had to be derived anew. */
export function loadFooter(context: LogContext, segment: Segment, onRebuilt: (segment: Segment) => void): void {
  if (segment.index !== undefined) return;
  const trailer = segment.trailer!;
  const file = context.pool.use(segment);
  const bytes = Buffer.allocUnsafeSlow(trailer.footerBytes);
  const count = file.read(bytes, 0, bytes.length, trailer.footerOffset);
  const footer = decodeFooter(bytes.subarray(0, count), segment.place, trailer);
  if (footer !== undefined) {
    if (!segment.hasTable) adoptTable(segment, footer.blocks);
    segment.index = new SparseIndex(footer.index);
    segment.idempotency = new IdempotencyTable(footer.idempotency);
    segment.refs = footer.refs ?? REFS_UNTOLD;
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
