/** A shard's `VerifiableShard`: its trees held and lent, its bytes read back. */
import { CATALOG_FILE } from '../catalog.js';
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
  readonly #checkCatalog: () => boolean;

  /** `checkCatalog`: false where it was bad; it is built again where it is needed. */
  constructor(shard: Shard, clock: Clock, rootAt: HeldTreesDeps['rootAt'], checkCatalog: () => boolean) {
    this.#checkCatalog = checkCatalog;
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

  async scrub(pace: ScrubPace, progress: (share: number) => void): Promise<ScrubReport> {
    const shard = this.#shard;
    const treeDirectory = `${shardDirectory(shard.id)}/tree`;
    const parts = { log: shard.log, store: shard.store, treeDirectory, root: () => shard.tree?.root };
    const report = await scrubShard(parts, pace, progress);
    if (this.#checkCatalog()) return report;
    const detail = 'the catalog was bad: it is thrown away, and built again where it is needed';
    const finding = { kind: 'damaged', file: CATALOG_FILE, offset: 0, fromSeq: 0, toSeq: 0, detail } as const;
    return { ...report, findings: [...report.findings, finding] };
  }

  close(): void {
    this.#trees.close();
  }
}
