/**
 * Checkpoints of the owner, compared with the tree of this copy: exactly through the same seq, one after the other.
 *
 * Invariants: where memory was short and the tree went beyond the seq, nothing is said; below what the source had compacted away the
 * owner's tree counted records that were never sent: nothing is compared there. A crash: the next checkpoint is compared.
 */
import { equalBytes } from '../format/bytes.js';
import { hex } from '../format/hash.js';
import type { IndexHealing } from '../index-healing.js';
import type { RootCheck } from '../replica.js';
import type { ShardContents } from '../shard-contents.js';
import type { ShardFolder } from '../shard-folder.js';
import { EMPTY_ROOT_HASH } from '../tree/tree-store.js';

export interface RootCheckDeps {
  readonly contents: ShardContents;
  readonly folder: ShardFolder;
  readonly healing: IndexHealing;
  /** Before it is told. */
  checked(check: RootCheck, isSame: boolean): void;
}

export class RootChecks {
  readonly #deps: RootCheckDeps;
  readonly #told: ((check: RootCheck) => void)[] = [];
  #last: Promise<void> = Promise.resolve();
  /** The newest that was compared, or should be once the tree is built anew. */
  newest: { readonly seq: number; readonly root: Uint8Array } | undefined;

  constructor(deps: RootCheckDeps) {
    this.#deps = deps;
  }

  onCheck(told: (check: RootCheck) => void): void {
    this.#told.push(told);
  }

  /** A checkpoint event is visible. */
  met(seq: number, root: Uint8Array): void {
    if (seq < this.#deps.contents.log.compactedThrough) return;
    const expected = { seq, root: Uint8Array.from(root) };
    this.#last = this.#last.then(() => this.#compare(expected)).catch(() => undefined);
  }

  /** Resolves when nothing is left to compare. */
  settled(): Promise<void> {
    return this.#last;
  }

  /** The tree from the log alone, compared once more where that can be. */
  async rebuildTree(): Promise<RootCheck | undefined> {
    const { contents, healing } = this.#deps;
    await this.settled();
    const { newest } = this;
    // Of before what the files have let go they cannot tell the root any more.
    if (newest !== undefined && newest.seq >= contents.log.compactedThrough) contents.rootWanted = newest.seq;
    try {
      await healing.rebuild();
      const { rootFound } = contents;
      return newest === undefined || rootFound === undefined ? undefined : this.#conclude(newest, rootFound);
    } finally {
      contents.rootWanted = contents.rootFound = undefined;
    }
  }

  async #compare(expected: { readonly seq: number; readonly root: Uint8Array }): Promise<void> {
    const { folder, healing } = this.#deps;
    const tree = await healing.healing(() => folder.fold(expected.seq));
    if (tree.seq === expected.seq) this.#conclude(expected, tree.root?.hash ?? EMPTY_ROOT_HASH);
  }

  #conclude(expected: { readonly seq: number; readonly root: Uint8Array }, found: Uint8Array): RootCheck {
    this.newest = expected;
    const check = { seq: expected.seq, expected: hex(expected.root), found: hex(found) };
    this.#deps.checked(check, equalBytes(expected.root, found));
    for (const told of this.#told) told(check);
    return check;
  }
}
