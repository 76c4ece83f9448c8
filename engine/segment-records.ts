/** The batches of a segment file by itself, wherever it lies: what a rewind set aside, to be brought back as new records. Reads only. */
import { corrupt } from './format/bytes.js';
import { decodeBatches, FRAME_DATA } from './format/frame.js';
import { SEGMENT_HEADER_BYTES } from './format/segment.js';
import { segmentPlaceOf } from './inspect-segment.js';
import { scanFrames } from './log/frame-scanner.js';
import type { StoredBatch } from './log/types.js';
import type { Platform } from './platform/platform.js';

/** Throws CORRUPT where bytes of it are bad. */
export function* batchesOfSegment(platform: Platform, name: string): Generator<{ readonly shard: number; readonly batch: StoredBatch }> {
  const file = platform.files.open(name, 'read');
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const place = segmentPlaceOf(bytes.subarray(0, file.read(bytes, 0, bytes.length, 0)), name);
    for (const scanned of scanFrames(file, place, SEGMENT_HEADER_BYTES, file.size())) {
      // Behind the last frame of a sealed segment its trailer stands.
      if (scanned.kind === 'bad' && scanned.to === file.size()) return;
      if (scanned.kind === 'bad') throw corrupt(name, scanned.from, 'no frame here passes its checksum');
      if (scanned.head.kind !== FRAME_DATA) continue;
      const batches = decodeBatches(scanned.bytes, scanned.at, scanned.head, place, true);
      if (batches === undefined) throw corrupt(name, scanned.offset, 'a frame is unsound');
      for (const batch of batches) yield { shard: place.shard, batch };
    }
  } finally {
    file.close();
  }
}
