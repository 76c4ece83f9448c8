/**
 * Copies of a log's files, outside of any database: each checked by itself, and a data directory made around them.
 *
 * Invariants: a copy is only called good when every byte of it passed a checksum that says where it belongs (database, shard,
 * base, generation, place in the file), and a sealed one its own BLAKE3 too. The new directory gets a node id of its own, and its
 * node.json last: a restore that is cut short leaves no database that could be taken for a whole one.
 */
import { VarveError } from './errors.js';
import { equalBytes } from './format/bytes.js';
import { decodeFooter, decodeTrailer, TRAILER_BYTES } from './format/footer.js';
import { FRAME_DATA } from './format/frame.js';
import { Blake3Stream, hex } from './format/hash.js';
import { decodeSegmentHeader, parseSegmentName, SEGMENT_HEADER_BYTES, segmentPlace } from './format/segment.js';
import { newIdentity, writeIdentity } from './identity.js';
import { scanFrames } from './log/frame-scanner.js';
import { nodePlatform } from './platform/node.js';
import type { File, FileSystem } from './platform/platform.js';
import { shardDirectory } from './shard-contents.js';
import type { HashHex } from './types.js';

export interface SegmentCopy {
  /** 32 hex digits. */
  readonly database: string;
  readonly shard: number;
  readonly name: string;
  /** How much of the file counts; it may be longer. */
  readonly bytes: number;
  readonly sealed: boolean;
  /** What the copy is called, where not by the segment's name. */
  readonly file?: string;
}

export interface CheckedCopy {
  /** BLAKE3 of the first `bytes` bytes. */
  readonly blake3: HashHex;
  /** Of the frames found; 0 where there are none. */
  readonly lastSeq: number;
}

/** `shards/0001/log`, relative to a data directory or a backup. */
export function logDirectory(shard: number): string {
  return `${shardDirectory(shard)}/log`;
}

export function isSegmentName(name: string): boolean {
  return parseSegmentName(name) !== undefined;
}

/** Reads the copy back, every byte. Throws CORRUPT with the place of what is wrong. */
export function checkSegmentCopy(directory: string, copy: SegmentCopy): CheckedCopy {
  return checkSegmentFile(nodePlatform(directory).files, copy.file ?? copy.name, copy);
}

/** The same of a file anywhere. */
export function checkSegmentFile(files: FileSystem, path: string, copy: SegmentCopy): CheckedCopy {
  const file = files.open(path, 'read');
  try {
    return { blake3: hashOf(file, copy), lastSeq: checkFrames(file, copy) };
  } finally {
    file.close();
  }
}

/** Makes an empty data directory of the given database, to put copies of its log into; `finish` makes it one. Throws INVALID where something is in the way. */
export async function beginRestore(
  directory: string,
  database: string,
  shards: number,
): Promise<{ segmentPath(shard: number, name: string): string; finish(): Promise<void> }> {
  const platform = nodePlatform(directory);
  const { files } = platform;
  files.makeDirectory('');
  if (files.list('').length > 0)
    throw new VarveError('INVALID', `${directory} is not empty`, { path: 'directory', expected: 'an empty one' });
  for (let shard = 1; shard <= shards; shard++) {
    files.makeDirectory(logDirectory(shard));
    files.makeDirectory(`${shardDirectory(shard)}/tree`);
  }
  return {
    segmentPath: (shard, name) => `${directory}/${logDirectory(shard)}/${name}`,
    finish: async () => {
      for (let shard = 1; shard <= shards; shard++) {
        await files.syncDirectory(logDirectory(shard));
        await files.syncDirectory(shardDirectory(shard));
      }
      await files.syncDirectory('shards');
      await files.syncDirectory('');
      await writeIdentity(platform, { ...newIdentity(platform, shards), database });
    },
  };
}

const READ_BYTES = 1024 * 1024;

function hashOf(file: File, copy: SegmentCopy): HashHex {
  const hash = new Blake3Stream();
  try {
    hashPrefix(file, copy, copy.bytes, hash);
    return hex(hash.digest());
  } finally {
    hash.free();
  }
}

function hashPrefix(file: File, copy: SegmentCopy, bytes: number, hash: Blake3Stream): void {
  const slice = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, Math.max(1, bytes)));
  for (let offset = 0; offset < bytes; ) {
    const count = file.read(slice, 0, Math.min(slice.length, bytes - offset), offset);
    if (count === 0) throw corrupt(copy, offset, `the file ends here, ${bytes} bytes were expected`);
    hash.update(slice.subarray(0, count));
    offset += count;
  }
}

/** Header, every frame, and for a sealed segment footer and trailer. Returns the last seq. */
function checkFrames(file: File, copy: SegmentCopy): number {
  const named = parseSegmentName(copy.name);
  if (named === undefined) throw corrupt(copy, 0, 'this is no name of a segment');
  const place = segmentPlace(Buffer.from(copy.database, 'hex'), copy.shard, named.base, named.generation);
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  file.read(header, 0, header.length, 0);
  if (decodeSegmentHeader(header, place, copy.name) === undefined) throw corrupt(copy, 0, 'the header names another place');
  let end = copy.bytes;
  if (copy.sealed) {
    const tail = Buffer.alloc(TRAILER_BYTES);
    file.read(tail, 0, tail.length, copy.bytes - TRAILER_BYTES);
    const trailer = decodeTrailer(tail, place, copy.bytes);
    if (trailer === undefined) throw corrupt(copy, copy.bytes - TRAILER_BYTES, 'the trailer is bad');
    end = trailer.footerOffset;
    const bytes = Buffer.alloc(trailer.footerBytes);
    file.read(bytes, 0, bytes.length, trailer.footerOffset);
    const footer = decodeFooter(bytes, place, trailer);
    if (footer === undefined) throw corrupt(copy, trailer.footerOffset, 'the footer is bad');
    const hash = new Blake3Stream();
    try {
      hashPrefix(file, copy, end, hash);
      if (!equalBytes(footer.contentHash, hash.digest())) throw corrupt(copy, 0, 'the segment is not what its BLAKE3 says');
    } finally {
      hash.free();
    }
  }
  let lastSeq = 0;
  for (const scanned of scanFrames(file, place, SEGMENT_HEADER_BYTES, end)) {
    if (scanned.kind === 'bad') throw corrupt(copy, scanned.from, 'bytes fail their checksum');
    if (scanned.head.kind === FRAME_DATA) lastSeq = scanned.head.lastSeq;
  }
  return lastSeq;
}

function corrupt(copy: SegmentCopy, offset: number, what: string): VarveError {
  const file = `${logDirectory(copy.shard)}/${copy.name}`;
  return new VarveError('CORRUPT', `${file} at ${offset}: ${what}`, { file, offset, what });
}
