/** A shard's `VerifiableShard`: its trees held and lent, its bytes read back. */
import type { Finding } from '../log/index.js';
import type { Clock } from '../platform/platform.js';
import { damagedSegments } from '../replica/gaps.js';
import type { Shard } from '../shard.js';
import { shardDirectory } from '../shard-contents.js';
import type { ShardId } from '../types.js';
import type { HeldTree, ScrubPace, ScrubReport, VerifiableShard } from '../verification.js';
import { HeldTrees, type HeldTreesDeps } from './held-trees.js';
import { scrubShard } from './scrub-shard.js';

export class ShardVerification implements VerifiableShard {
  readonly id: ShardId;
  readonly #shard: Shard;
  readonly #trees: HeldTrees;

  constructor(shard: Shard, clock: Clock, rootAt: HeldTreesDeps['rootAt']) {
    this.id = shard.id;
    this.#shard = shard;
    this.#trees = new HeldTrees({
      shard: shard.id,
      clock,
      store: () => shard.store,
      root: () => shard.tree?.root,
      rootAt: (seq) => shard.healing(() => rootAt(seq)),
    });
  }

  treeAt(seq: number): Promise<HeldTree> {
    return this.#trees.at(seq);
  }

  lendTree(seq: number): Promise<HeldTree> {
    return this.#trees.lend(seq);
  }

  lentTree(seq: number): HeldTree | undefined {
    return this.#trees.lent(seq);
  }

  get damagedSegments(): readonly { readonly fromSeq: number; readonly toSeq: number }[] {
    return damagedSegments(this.#shard.log);
  }

  get findings(): readonly Finding[] {
    return this.#shard.findings;
  }

  scrub(pace: ScrubPace, progress: (share: number) => void): Promise<ScrubReport> {
    const shard = this.#shard;
    const treeDirectory = `${shardDirectory(shard.id)}/tree`;
    return scrubShard({ log: shard.log, store: shard.store, treeDirectory, root: () => shard.tree?.root }, pace, progress);
  }

  close(): void {
    this.#trees.close();
  }
}
