/** What rewinds took out of a shard's log on a machine, and kept. */
import { decodeBatches, FRAME_DATA } from '../../engine/format/frame.js';
import { parseSegmentName, SEGMENT_HEADER_BYTES, segmentPlace } from '../../engine/format/segment.js';
import { scanFrames } from '../../engine/log/frame-scanner.js';
import { KIND_PUT } from '../../engine/log/index.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';
import { shardDirectory } from '../../engine/shard-contents.js';
import { recordId } from '../../engine/types.js';

/** Id and body, parsed, of each record that is not a tombstone. */
export function setAsideRecords({ files }: MemoryPlatform, shard: number): Map<string, unknown> {
  const found = new Map<string, unknown>();
  const directory = `${shardDirectory(shard)}/aside`;
  if (!files.exists(directory)) return found;
  for (const name of files.list(directory)) {
    const parsed = parseSegmentName(name);
    if (parsed === undefined) continue;
    const file = files.open(`${directory}/${name}`, 'read');
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
    file.read(header, 0, header.length, 0);
    const place = segmentPlace(Uint8Array.from(header.subarray(16, 32)), shard, parsed.base, parsed.generation);
    for (const scanned of scanFrames(file, place, SEGMENT_HEADER_BYTES, file.size())) {
      if (scanned.kind === 'bad' || scanned.head.kind !== FRAME_DATA) continue;
      for (const { records } of decodeBatches(scanned.bytes, scanned.at, scanned.head, place) ?? [])
        for (const { seq, kind, bodyText, bodyHash } of records)
          if (kind === KIND_PUT && bodyHash === undefined) found.set(recordId(shard, seq), JSON.parse(bodyText));
    }
    file.close();
  }
  return found;
}
