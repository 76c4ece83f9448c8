/**
 * What rests on a shard's tree as a whole: folds, checkpoints, the root, proofs under it, and counts.
 *
 *   checkpoint -> fold -> an event in the log: seq, root, hash of the checkpoint before -> the catalog remembers it
 *
 * Invariants: checkpoints go one at a time, for each names the one before it; a root and a proof log nothing. A crash between fold and
 * event leaves a tree that no event names, which is used all the same.
 */
import type { Catalog, LoggedCheckpoint } from './catalog.js';
import type { CheckpointChain } from './checkpoint-chain.js';
import type { RecordProof } from './database.js';
import { entityKeyFromBytes } from './format/keys.js';
import type { IndexHealing } from './index-healing.js';
import type { CheckpointEvent } from './log/index.js';
import { proveRecord } from './record-proof.js';
import type { Erasures } from './retention/erasures.js';
import type { ShardContents } from './shard-contents.js';
import type { Counts } from './shard-counts.js';
import type { ShardFolder } from './shard-folder.js';
import { EMPTY_ROOT_HASH } from './tree/tree-store.js';
import type { ShardId } from './types.js';

export interface ShardRootsDeps {
  readonly shard: ShardId;
  readonly catalog: Catalog;
  readonly contents: ShardContents;
  readonly chain: CheckpointChain;
  readonly folder: ShardFolder;
  readonly healing: IndexHealing;
  readonly erasures: Erasures;
  /** Whether this node owns the shard: others log nothing. */
  mayLog(): boolean;
  /** Why writes are refused, or undefined. */
  stopped(): string | undefined;
  insertEvent(event: CheckpointEvent): Promise<number>;
}

/** Under writes that never stop the counts stay as they are. */
const MOST_RECOUNTS = 3;

export class ShardRoots {
  readonly #deps: ShardRootsDeps;
  #checkpointing: Promise<void> = Promise.resolve();

  constructor(deps: ShardRootsDeps) {
    this.#deps = deps;
  }

  /** Everything visible is in the tree when this resolves, logged trims carried out. */
  async fold(): Promise<void> {
    await this.#deps.healing.healing(() => this.#deps.folder.fold());
  }

  /** Folds, logs the checkpoint event and notes it in the catalog. Does nothing where nothing is newer. */
  checkpoint(): Promise<void> {
    const turn = this.#checkpointing.catch(() => undefined).then(() => this.#checkpoint());
    this.#checkpointing = turn;
    return turn;
  }

  async #checkpoint(): Promise<void> {
    const { contents, chain, stopped } = this.#deps;
    if (stopped() !== undefined) return;
    await this.fold();
    if (!this.#deps.mayLog()) return this.#saveCounts();
    const { root, treeSeq } = contents.index;
    const last = await chain.newest();
    if (root === undefined || stopped() !== undefined || last?.throughSeq === treeSeq) return;
    if (!this.#deps.mayLog()) return this.#saveCounts();
    const event = chain.next(last, root, treeSeq);
    chain.logged({ ...event, seq: await this.#deps.insertEvent(event) }, last);
    await this.#saveCounts();
  }

  /** Root over everything visible now. */
  async root(): Promise<{ seq: number; hash: Uint8Array; entries: number }> {
    const { contents } = this.#deps;
    contents.checkWhole();
    const seq = contents.visibleSeq;
    await this.fold();
    const root = contents.index.root;
    // More may have become visible and been folded meanwhile; then the root is that of the later seq.
    return { seq: Math.max(seq, contents.index.treeSeq), hash: root?.hash ?? EMPTY_ROOT_HASH, entries: root?.entries ?? 0 };
  }

  /** The proof of a record that there is, under the newest root, which is made to hold it; undefined where the log does not hold it. */
  async prove(seq: number): Promise<RecordProof | undefined> {
    const { shard, contents, healing, folder, erasures } = this.#deps;
    const record = contents.log.read(seq);
    if (record === undefined) return undefined;
    const entity = entityKeyFromBytes(record.collection, record.key);
    return healing.healing(async () => {
      if (seq > contents.index.treeSeq) await folder.fold();
      const tree = contents.tree;
      return tree && proveRecord(shard, record, entity, contents.store, tree, erasures);
    });
  }

  /** The checkpoint that covers exactly up to `throughSeq`; undefined only where there is surely none. */
  async checkpointAt(throughSeq: number): Promise<LoggedCheckpoint | undefined> {
    const { chain, contents } = this.#deps;
    const found = (await chain.all()).find((event) => event.throughSeq === throughSeq);
    if (found === undefined && chain.gap !== undefined) throw contents.damage(chain.gap);
    return found;
  }

  /** Entities alive and versions, per collection, of everything visible. */
  async counts(): Promise<Counts> {
    const { contents } = this.#deps;
    contents.checkWhole();
    for (let tries = 0; contents.countsInDoubt && tries < MOST_RECOUNTS; tries++) {
      await this.fold();
      contents.recount();
    }
    return contents.counts.total();
  }

  async #saveCounts(): Promise<void> {
    const { shard, catalog, contents } = this.#deps;
    if (contents.countsInDoubt) contents.recount();
    if (contents.countsInDoubt) return;
    const counts = await contents.counts.total();
    // Counts go with the tree they describe; where more has become visible meanwhile, the next checkpoint saves them.
    if (contents.index.memoryCount === 0) catalog.saveCounts(shard, contents.index.treeSeq, counts);
  }
}
