/**
 * Everything a log's file says, however it is written: the bytes themselves, and what every packed block in them unpacks to. Blocks are
 * looked for at every byte, so that those of torn tails, of cut files and of files that were set aside are found too.
 */
import { PACKED_TAG, packedBlockLengthAt, unpackBlock } from '../../engine/format/packed-block.js';
import { parseSegmentName, type SegmentPlace, seedAt, segmentPlace } from '../../engine/format/segment.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';

const SEGMENT_NAME = /[0-9a-f]{12}-[0-9a-f]{4}\.seg/;

/** The file's bytes, then one buffer for each block. */
export function decodedBytes(machine: Pick<MemoryPlatform, 'contents'>, path: string): Buffer[] {
  const bytes = machine.contents(path);
  const place = placeOf(bytes, path);
  return place === undefined ? [bytes] : [bytes, ...unpackedBlocks(bytes, place)];
}

/** Of every file there is. */
export function filesThatSay(machine: MemoryPlatform, text: string): string[] {
  return machine
    .fileList()
    .filter(({ path }) => decodedBytes(machine, path).some((bytes) => bytes.includes(text)))
    .map(({ path }) => path);
}

/** By its name, whatever was appended to that, and its header, sound or not. */
function placeOf(bytes: Buffer, path: string): SegmentPlace | undefined {
  const name = SEGMENT_NAME.exec(path)?.[0];
  const named = name === undefined ? undefined : parseSegmentName(name);
  if (named === undefined || bytes.length < 32) return undefined;
  return segmentPlace(Uint8Array.from(bytes.subarray(16, 32)), bytes.readUInt32LE(12), named.base, named.generation);
}

function unpackedBlocks(bytes: Buffer, place: SegmentPlace): Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = bytes.indexOf(PACKED_TAG); at >= 0; at = bytes.indexOf(PACKED_TAG, at + 1)) {
    const length = packedBlockLengthAt(bytes, at, bytes.length);
    const items = length === 0 ? undefined : unpackBlock(bytes, at, length, seedAt(place, at));
    if (items !== undefined) blocks.push(items);
  }
  return blocks;
}
