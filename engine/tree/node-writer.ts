/**
 * Appends the nodes and the root of one fold after another to the tree files.
 *
 *   addNode … addNode      into buffers; addresses are given at once, a full file rotates
 *   drain                  writes the buffers so far (a large fold need not fit in memory)
 *   commit                 the rest of the buffers, sync, root frame, sync; only then is the root announced
 *
 * Invariants: a root frame is written only once its nodes are durable, so a whole one never names nodes that a crash took. After a failed write or sync nothing is appended to that
 * file any more (what its tail holds is unknown) and nothing is retried: the next fold begins a new file, the old root stays.
 * A crash leaves frames that no root reaches.
 */
import { assert } from '../errors.js';
import { hashNode } from './node.js';
import type { NodeBuilder } from './node-builder.js';
import { encodeRootFrame, FILE_HEADER_BYTES, NODE_FRAME_HEAD_BYTES, nodeFrameBytes, ROOT_FRAME_BYTES, sealNodeFrame } from './tree-file.js';
import { type TreeFiles, writeFully } from './tree-files.js';
import type { TreeRoot } from './types.js';

const FIRST_CHUNK_BYTES = 64 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const MAX_SPARE_CHUNKS = 4;
/** A fold's writes are paced: never much more than this is left for one sync, which would hold up the syncs of the log beside it. */
const SYNC_BYTES = 8 * 1024 * 1024;
/** Offsets in a tree file are 32 bits wide. */
export const MAX_FILE_BYTES = 2 ** 31;

export interface WrittenNode {
  readonly hash: Buffer;
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

/** Where the newest committed root frame begins; 0/0 where there is none. */
export interface RootPlace {
  readonly file: number;
  readonly offset: number;
}

interface Chunk {
  readonly file: number;
  readonly offset: number;
  readonly bytes: Buffer;
  /** What `bytes` is a view of. */
  readonly buffer: Buffer;
}

export class NodeWriter {
  readonly #files: TreeFiles;
  readonly #fileBytes: number;
  /** 0: the next frame begins a new file. */
  #file = 0;
  /** Where the next frame goes, buffered ones counted. */
  #end = 0;
  /** Files not made yet that buffered frames go to. */
  #unmade: number[] = [];
  #pending: Chunk[] = [];
  #chunk: Buffer | undefined;
  #chunkFile = 0;
  #chunkOffset = 0;
  #chunkUsed = 0;
  #pendingBytes = 0;
  /** Written since the last sync. */
  #unsyncedBytes = 0;
  #nextChunkBytes = FIRST_CHUNK_BYTES;
  /** Buffers to use again within this fold. */
  #spare: Buffer[] = [];
  #dirty = new Set<number>();
  #busy = false;
  #failure: unknown;
  #last: RootPlace;

  /** Goes on at the end of a file that ends in a whole root frame, if one is given. */
  constructor(files: TreeFiles, fileBytes: number, last: RootPlace, tail: { file: number; end: number } | undefined) {
    assert(fileBytes <= MAX_FILE_BYTES, 'a tree file stays within its offsets');
    this.#files = files;
    this.#fileBytes = fileBytes;
    this.#last = last;
    if (tail !== undefined) {
      this.#file = tail.file;
      this.#end = tail.end;
    }
  }

  /** The newest committed root frame. */
  get last(): RootPlace {
    return this.#last;
  }

  /** Where the next fold appends; undefined: it begins a new file. */
  get tail(): { readonly file: number; readonly end: number } | undefined {
    const clean = this.#failure === undefined && this.#pendingBytes === 0 && this.#dirty.size === 0;
    return clean && this.#file !== 0 ? { file: this.#file, end: this.#end } : undefined;
  }

  /** Somebody else appended meanwhile: a fold goes on from here. */
  resume(last: RootPlace, tail: { readonly file: number; readonly end: number } | undefined): void {
    assert(!this.#busy, 'files change hands between folds');
    this.abandonFile();
    this.#failure = undefined;
    this.#last = last;
    this.#file = tail?.file ?? 0;
    this.#end = tail?.end ?? 0;
  }

  /** Bytes waiting for `drain`. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Before the first node of a fold: gives up what an abandoned or failed one left. */
  begin(): void {
    assert(!this.#busy, 'a fold begins after the writes of the one before it');
    if (this.#failure !== undefined || this.#pendingBytes > 0 || this.#dirty.size > 0) this.abandonFile();
    this.#failure = undefined;
  }

  /** The next frame goes to a new file. */
  abandonFile(): void {
    this.#file = 0;
    this.#end = 0;
    this.#unmade = [];
    this.#pending = [];
    this.#spare = [];
    this.#chunk = undefined;
    this.#chunkUsed = 0;
    this.#pendingBytes = 0;
    this.#unsyncedBytes = 0;
    this.#nextChunkBytes = FIRST_CHUNK_BYTES;
    this.#dirty.clear();
  }

  /** After all files were removed. */
  forgetRoots(): void {
    this.abandonFile();
    this.#last = { file: 0, offset: 0 };
  }

  addNode(builder: NodeBuilder): WrittenNode {
    const hashedBytes = builder.hashedBytes();
    const addressBytes = builder.addressBytes();
    const length = nodeFrameBytes(hashedBytes, addressBytes);
    const at = this.#reserve(length);
    const into = this.#chunk!;
    const offset = this.#chunkOffset + at;
    const nodeAt = at + NODE_FRAME_HEAD_BYTES;
    builder.encode(into, nodeAt);
    sealNodeFrame(into, at, hashedBytes, addressBytes, this.#files.seed(this.#file), offset);
    return { hash: hashNode(into.subarray(nodeAt, nodeAt + hashedBytes)), file: this.#file, offset, length };
  }

  /** Room for a frame at the end of the current chunk; answers where in it. */
  #reserve(length: number): number {
    if (this.#file === 0 || (this.#end + length + ROOT_FRAME_BYTES > this.#fileBytes && this.#end > FILE_HEADER_BYTES)) {
      this.#closeChunk();
      this.#file = this.#files.nextNumber();
      this.#end = FILE_HEADER_BYTES;
      this.#unmade.push(this.#file);
    }
    if (this.#chunk === undefined || this.#chunkUsed + length > this.#chunk.length) {
      this.#closeChunk();
      this.#chunk = this.#newChunk(length);
      this.#chunkFile = this.#file;
      this.#chunkOffset = this.#end;
    }
    const at = this.#chunkUsed;
    this.#chunkUsed += length;
    this.#end += length;
    this.#pendingBytes += length;
    return at;
  }

  /** A written one where possible: fresh memory costs a page fault every 4 KiB. */
  #newChunk(length: number): Buffer {
    const spare = this.#spare.pop();
    if (spare !== undefined && spare.length >= length) return spare;
    const chunk = Buffer.allocUnsafeSlow(Math.max(this.#nextChunkBytes, length));
    this.#nextChunkBytes = Math.min(this.#nextChunkBytes * 2, CHUNK_BYTES);
    return chunk;
  }

  #keep(chunk: Buffer): void {
    if (this.#spare.length < MAX_SPARE_CHUNKS) this.#spare.push(chunk);
  }

  #closeChunk(): void {
    if (this.#chunk !== undefined && this.#chunkUsed > 0) {
      this.#pending.push({
        file: this.#chunkFile,
        offset: this.#chunkOffset,
        bytes: this.#chunk.subarray(0, this.#chunkUsed),
        buffer: this.#chunk,
      });
    }
    this.#chunk = undefined;
    this.#chunkUsed = 0;
  }

  /** Writes what is buffered, and syncs now and then. A rejection ends the fold. */
  async drain(): Promise<void> {
    await this.#exclusively(async () => {
      await this.#write();
      if (this.#unsyncedBytes >= SYNC_BYTES) await this.#sync();
    });
  }

  async #write(): Promise<void> {
    this.#closeChunk();
    for (let chunk = this.#pending.shift(); chunk !== undefined; chunk = this.#pending.shift()) {
      if (this.#unmade[0] === chunk.file) {
        await this.#files.create(chunk.file);
        this.#unmade.shift();
      }
      await writeFully(this.#files.writableFile(chunk.file), chunk.bytes, chunk.offset);
      this.#keep(chunk.buffer);
      this.#dirty.add(chunk.file);
      this.#pendingBytes -= chunk.bytes.length;
      this.#unsyncedBytes += chunk.bytes.length;
    }
  }

  /** Ends the fold: once this resolves, nodes and root are durable. */
  async commit(seq: number, root: TreeRoot): Promise<void> {
    await this.#exclusively(async () => {
      await this.#write();
      await this.#sync();
      const at = this.#reserve(ROOT_FRAME_BYTES);
      const place = { file: this.#file, offset: this.#chunkOffset + at };
      const previous = { previousFile: this.#last.file, previousOffset: this.#last.offset };
      encodeRootFrame({ seq, root, ...previous }, this.#files.seed(place.file), place.offset).copy(this.#chunk!, at);
      await this.#write();
      await this.#sync();
      this.#nextChunkBytes = FIRST_CHUNK_BYTES;
      this.#spare = [];
      this.#last = place;
    });
  }

  async #sync(): Promise<void> {
    for (const file of this.#dirty) await this.#files.writableFile(file).sync();
    this.#dirty.clear();
    this.#unsyncedBytes = 0;
  }

  async #exclusively(work: () => Promise<void>): Promise<void> {
    assert(!this.#busy, 'one write of a tree at a time');
    if (this.#failure !== undefined) throw this.#failure;
    this.#busy = true;
    try {
      await work();
    } catch (error) {
      this.abandonFile();
      this.#failure = error;
      throw error;
    } finally {
      this.#busy = false;
    }
  }
}
