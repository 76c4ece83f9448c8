/**
 * Gets a packed block from its file: one read, its checksum, its items in memory of their own.
 *
 * Nothing of it is believed before the checksum has passed, which also says that the block belongs where it was read.
 */
import { packedBlockLengthAt, unpackBlock } from '../format/packed-block.js';
import { seedAt } from '../format/segment.js';
import type { File } from '../platform/platform.js';
import type { BlockCache, CachedBlock } from './block-cache.js';
import type { PackedTable } from './packed-table.js';
import type { Segment } from './segment-state.js';

/** A block is read here before it is unpacked. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024);
const MAX_READ_BYTES = 512 * 1024 * 1024;

/** Undefined where the block cannot be believed. The cache keeps it if it may. */
export function loadPackedBlock(
  segment: Segment,
  table: PackedTable,
  file: File,
  cache: BlockCache,
  number: number,
): CachedBlock | undefined {
  const offset = table.offsetOf(number);
  const wanted = table.endOf(number, segment.dataEnd) - offset;
  if (wanted <= 0 || wanted > MAX_READ_BYTES) return undefined;
  const bytes = wanted <= scratch.length ? scratch : Buffer.allocUnsafeSlow(wanted);
  const length = packedBlockLengthAt(bytes, 0, file.read(bytes, 0, wanted, offset));
  const items = length === 0 ? undefined : unpackBlock(bytes, 0, length, seedAt(segment.place, offset));
  const span = Math.max(0, table.spanOf(number, segment.lastSeq));
  return items === undefined ? undefined : cache.keepPacked(segment, number, items, table.seqOf(number), span);
}
