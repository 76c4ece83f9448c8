/**
 * Writes the nodes of a tree into files that are to take the place of those there are.
 *
 *   add, add, …    into buffers; addresses are given at once, a full file rotates
 *   write          what is buffered, files made as they are needed, synced now and then
 *   finish         the rest, synced; then all of it read back from the disk
 *
 * Invariants: the files that stand are not touched, and nothing here says that the new ones count: a store's change over does
 * (tree-store.ts). A crash leaves files that their headers tell as an unfinished copy's; opening deletes them (tree-files.ts). After a
 * throw whoever asked deletes what was made.
 */
import { getU32 } from '../format/bytes.js';
import { hashNode } from './node.js';
import type { NodeBuilder } from './node-builder.js';
import type { WrittenNode } from './node-writer.js';
import { FILE_HEADER_BYTES, NODE_FRAME_HEAD_BYTES, nodeFrameBytes, nodeFrameProblem, sealNodeFrame } from './tree-file.js';
import { type TreeFiles, writeFully } from './tree-files.js';

const CHUNK_BYTES = 256 * 1024;
/** Never much more than this is left for one sync, which would hold up the syncs of the log beside it. */
const SYNC_BYTES = 8 * 1024 * 1024;

/** Where a copy's files go. */
export interface CopyPlace {
  readonly fileBytes: number;
  /** Stands for all files of this copy. */
  readonly first: number;
  /** Files it may make: `count` numbers from `from` on. */
  readonly from: number;
  readonly count: number;
}

interface Chunk {
  readonly file: number;
  readonly at: number;
  readonly bytes: Buffer;
  used: number;
}

export class CopyWriter {
  /** Begun, in order. */
  readonly files: number[] = [];
  nodes = 0;
  bytes = 0;
  readonly #files: TreeFiles;
  readonly #place: CopyPlace;
  /** Of the newest file: where the next frame goes. */
  #end = 0;
  #chunk: Chunk | undefined;
  readonly #full: Chunk[] = [];
  readonly #spare: Buffer[] = [];
  #made = 0;
  readonly #dirty = new Set<number>();
  #unsynced = 0;

  constructor(files: TreeFiles, place: CopyPlace) {
    this.#files = files;
    this.#place = place;
  }

  /** A new node; good for folds. */
  addNode(builder: NodeBuilder): WrittenNode {
    const hashedBytes = builder.hashedBytes();
    const addressBytes = builder.addressBytes();
    const { bytes, at, file, offset, length } = this.#room(hashedBytes, addressBytes);
    const nodeAt = at + NODE_FRAME_HEAD_BYTES;
    builder.encode(bytes, nodeAt);
    sealNodeFrame(bytes, at, hashedBytes, addressBytes, this.#files.seed(file), offset);
    return { hash: hashNode(bytes.subarray(nodeAt, nodeAt + hashedBytes)), file, offset, length };
  }

  /** A node as it was, and where its children are now. */
  addCopy(hashed: Buffer, addresses: Buffer): { readonly file: number; readonly offset: number } {
    const { bytes, at, file, offset } = this.#room(hashed.length, addresses.length);
    hashed.copy(bytes, at + NODE_FRAME_HEAD_BYTES);
    addresses.copy(bytes, at + NODE_FRAME_HEAD_BYTES + hashed.length);
    sealNodeFrame(bytes, at, hashed.length, addresses.length, this.#files.seed(file), offset);
    return { file, offset };
  }

  /** Whether there is enough for a write. */
  get wantsWrite(): boolean {
    return this.#full.length > 0;
  }

  #room(hashedBytes: number, addressBytes: number) {
    const { fileBytes, from, count } = this.#place;
    const length = nodeFrameBytes(hashedBytes, addressBytes);
    if (this.files.length === 0 || (this.#end + length > fileBytes && this.#end > FILE_HEADER_BYTES)) {
      this.#closeChunk();
      if (this.files.length === count) throw new Error('a copy of the tree takes more files than it was given');
      this.files.push(from + this.files.length);
      this.#end = FILE_HEADER_BYTES;
    }
    if (this.#chunk !== undefined && this.#chunk.used + length > this.#chunk.bytes.length) this.#closeChunk();
    const file = this.files[this.files.length - 1]!;
    this.#chunk ??= { file, at: this.#end, bytes: this.#spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES), used: 0 };
    const at = this.#chunk.used;
    const offset = this.#end;
    this.#chunk.used += length;
    this.#end += length;
    this.nodes++;
    this.bytes += length;
    return { bytes: this.#chunk.bytes, at, file, offset, length };
  }

  #closeChunk(): void {
    if (this.#chunk !== undefined) this.#full.push(this.#chunk);
    this.#chunk = undefined;
  }

  /** Answers how many bytes that were. */
  async write(): Promise<number> {
    let written = 0;
    for (let chunk = this.#full.shift(); chunk !== undefined; chunk = this.#full.shift()) {
      const { file, at, bytes, used } = chunk;
      while (this.files[this.#made] !== undefined && this.files[this.#made]! <= file) {
        await this.#files.createMarked(this.files[this.#made]!, { first: this.#place.first, closes: false }, Buffer.alloc(0));
        this.#made++;
      }
      await writeFully(this.#files.writableFile(file), bytes.subarray(0, used), at);
      this.#spare.push(bytes);
      this.#dirty.add(file);
      written += used;
      this.#unsynced += used;
      if (this.#unsynced >= SYNC_BYTES) await this.#sync();
    }
    return written;
  }

  async #sync(): Promise<void> {
    for (const file of this.#dirty) await this.#files.writableFile(file).sync();
    this.#dirty.clear();
    this.#unsynced = 0;
  }

  /** `pace` is told what is read and written. */
  async finish(pace: (bytes: number) => Promise<void>): Promise<void> {
    this.#closeChunk();
    const written = await this.write();
    if (written > 0) await pace(2 * written);
    await this.#sync();
    await this.#readBack(pace);
  }

  /** Every frame, from the disk. */
  async #readBack(pace: (bytes: number) => Promise<void>): Promise<void> {
    let nodes = 0;
    let slab = Buffer.alloc(0);
    for (const number of this.files) {
      const seed = this.#files.seed(number);
      const size = this.#files.file(number).size();
      if (slab.length === 0) slab = Buffer.allocUnsafeSlow(CHUNK_BYTES);
      for (let offset = FILE_HEADER_BYTES; offset < size; ) {
        const length = this.#files.readInto(number, offset, slab, slab.length);
        const sound = this.#soundFrames(number, slab.subarray(0, length), seed, offset);
        nodes += sound.nodes;
        offset += sound.bytes;
        await pace(sound.bytes);
      }
    }
    if (nodes !== this.nodes) throw new Error(`${nodes} nodes were read back where ${this.nodes} were written`);
  }

  /** Whole frames from the beginning of `bytes`, which lie at `offset`; at least one, or it throws. */
  #soundFrames(number: number, bytes: Buffer, seed: number, offset: number): { readonly nodes: number; readonly bytes: number } {
    let nodes = 0;
    let at = 0;
    while (at + NODE_FRAME_HEAD_BYTES <= bytes.length) {
      const length = nodeFrameBytes(getU32(bytes, at + 4), getU32(bytes, at + 8));
      if (at + length > bytes.length) break;
      const problem = nodeFrameProblem(bytes.subarray(at, at + length), seed, offset + at);
      if (problem !== undefined) this.#unsound(number, offset + at, problem);
      at += length;
      nodes++;
    }
    if (nodes === 0) this.#unsound(number, offset, 'file ends within a node');
    return { nodes, bytes: at };
  }

  #unsound(number: number, offset: number, problem: string): never {
    throw new Error(`${this.#files.path(number)} at ${offset}: a node was written unsound: ${problem}`);
  }
}
