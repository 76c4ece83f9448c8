/**
 * Finds what differs between two copies' trees, level by level: only nodes with unequal hashes are opened, each level in one question.
 *
 *   roots      A ≠ A'
 *   level 1    B = B'   C ≠ C'        equal hashes: the same entries, wherever they lie
 *   leaves              c1 = c1'  c2 ≠ c2'  ->  entries
 *
 * Invariants: every node is held against the hash that its parent, or the root, named before anything in it is believed; a side that
 * fails that is told apart from a difference. What is looked at is capped: beyond it the walk says so and goes on in what comes first by key.
 * Reads only.
 */
import { readTreeNode, type TreeNode, versionOfTreeKey } from '../engine/copying.js';

/** A node that was named and not opened yet. */
export interface NodeRef {
  /** Child numbers from the root on. */
  readonly path: readonly number[];
  readonly hash: Uint8Array;
}

/** One of the two trees. */
export interface TreeSide {
  /** For people. */
  readonly name: string;
  readonly isOurs: boolean;
  readonly root: Uint8Array;
  readonly entries: number;
  /** The hashed bytes of these nodes, in their order; undefined where there is none. */
  read(refs: readonly NodeRef[]): Promise<readonly (Uint8Array | undefined)[]>;
}

export interface EntryDifference {
  readonly seq: number;
  readonly collection: string;
  readonly key: string;
  /** Leaf values; undefined where that side has no such version. */
  readonly ours: Uint8Array | undefined;
  readonly theirs: Uint8Array | undefined;
}

export interface TreeWalkResult {
  /** In order of seqs. */
  readonly differences: readonly EntryDifference[];
  /** Nodes read of the other side, and questions asked for them. */
  readonly nodes: number;
  readonly questions: number;
  /** There is more than was looked at. */
  readonly truncated: boolean;
}

export interface TreeWalkLimits {
  /** Nodes of one level opened a side. Default 4096. */
  readonly maxNodesALevel?: number;
}

/** What a side gave does not prove itself. */
export class UnprovenTree extends Error {
  constructor(
    readonly side: TreeSide,
    what: string,
  ) {
    super(`the tree of ${side.name} does not prove itself: ${what}`);
  }
}

const DEFAULT_MAX_NODES = 4096;
const MAX_LEVELS = 64;

interface Ref extends NodeRef {
  readonly level: number | undefined;
  readonly id: string;
  /** Last key of the node before, and of this one; undefined: none, or not known. */
  readonly after: Buffer | undefined;
  readonly last: Buffer | undefined;
}

interface Opened {
  readonly ref: Ref;
  readonly node: TreeNode;
}

export async function walkTrees(ours: TreeSide, theirs: TreeSide, limits: TreeWalkLimits = {}): Promise<TreeWalkResult> {
  const { maxNodesALevel = DEFAULT_MAX_NODES } = limits;
  let nodes = 0;
  let questions = 0;
  let bound: Buffer | undefined;
  const openOurs = (refs: readonly Ref[]) => open(ours, refs);
  const openTheirs = (refs: readonly Ref[]) => {
    nodes += refs.length;
    if (refs.length > 0) questions++;
    return open(theirs, refs);
  };
  let [a, b] =
    Buffer.compare(ours.root, theirs.root) === 0 ? [[], []] : await Promise.all([openOurs(rootOf(ours)), openTheirs(rootOf(theirs))]);
  for (let round = 0; round < MAX_LEVELS && (levelOf(a) > 0 || levelOf(b) > 0); round++) {
    const level = Math.max(levelOf(a), levelOf(b));
    // The higher tree comes down alone until both stand on one level.
    const below: [Ref[], Ref[]] = [levelOf(a) === level ? childrenOf(a) : [], levelOf(b) === level ? childrenOf(b) : []];
    const stayA = levelOf(a) === level ? [] : without(a, below[1]);
    const stayB = levelOf(b) === level ? [] : without(b, below[0]);
    const [left, right] = unequal(below[0], below[1], levelOf(a) === level ? [] : a, levelOf(b) === level ? [] : b);
    const cut = boundOf(left, maxNodesALevel, boundOf(right, maxNodesALevel, bound));
    bound = cut;
    const [openedA, openedB] = await Promise.all([openOurs(within(left, cut)), openTheirs(within(right, cut))]);
    a = [...stayA, ...openedA];
    b = [...stayB, ...openedB];
  }
  return { differences: entriesThatDiffer(a, b, bound), nodes, questions, truncated: bound !== undefined };
}

function rootOf({ root, entries }: TreeSide): Ref[] {
  return entries === 0 ? [] : [{ path: [], hash: root, level: undefined, id: idOf(root), after: undefined, last: undefined }];
}

function idOf(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.length).toString('latin1');
}

function levelOf(opened: readonly Opened[]): number {
  return opened[0]?.node.level ?? 0;
}

async function open(side: TreeSide, refs: readonly Ref[]): Promise<Opened[]> {
  if (refs.length === 0) return [];
  const read = await side.read(refs);
  return refs.map((ref, i) => {
    const bytes = read[i];
    const node = bytes === undefined ? 'a node is missing' : readTreeNode(bytes, ref.hash, ref.level);
    if (typeof node === 'string') throw new UnprovenTree(side, node);
    return { ref, node };
  });
}

function childrenOf(opened: readonly Opened[]): Ref[] {
  const children: Ref[] = [];
  for (const { ref, node } of opened) {
    let after = ref.after;
    for (let index = 0; index < node.count; index++) {
      const hash = node.childHash(index);
      const last = node.key(index);
      children.push({ path: [...ref.path, index], hash, level: node.level - 1, id: idOf(hash), after, last });
      after = last;
    }
  }
  return children;
}

/** What only one side has, by hash. Those who wait on this level already count too. */
function unequal(left: readonly Ref[], right: readonly Ref[], openLeft: readonly Opened[], openRight: readonly Opened[]): [Ref[], Ref[]] {
  const inLeft = new Set([...left.map(({ id }) => id), ...openLeft.map(({ ref }) => ref.id)]);
  const inRight = new Set([...right.map(({ id }) => id), ...openRight.map(({ ref }) => ref.id)]);
  return [left.filter(({ id }) => !inRight.has(id)), right.filter(({ id }) => !inLeft.has(id))];
}

function without(opened: readonly Opened[], refs: readonly Ref[]): Opened[] {
  const ids = new Set(refs.map(({ id }) => id));
  return opened.filter(({ ref }) => !ids.has(ref.id));
}

/** Up to which key the walk goes on, where there are too many nodes to open. */
function boundOf(refs: readonly Ref[], max: number, before: Buffer | undefined): Buffer | undefined {
  const last = refs.length > max ? refs[max - 1]!.last : undefined;
  if (last === undefined || before === undefined) return last ?? before;
  return Buffer.compare(last, before) < 0 ? last : before;
}

function within(refs: readonly Ref[], bound: Buffer | undefined): readonly Ref[] {
  return bound === undefined ? refs : refs.filter(({ after }) => after === undefined || Buffer.compare(after, bound) < 0);
}

function entriesThatDiffer(left: readonly Opened[], right: readonly Opened[], bound: Buffer | undefined): EntryDifference[] {
  const ours = entriesOf(left, bound);
  const theirs = entriesOf(right, bound);
  const differences: EntryDifference[] = [];
  const tell = (key: string, ourValue: Buffer | undefined, theirValue: Buffer | undefined): void => {
    const version = versionOfTreeKey(Buffer.from(key, 'latin1'));
    // Only a tree that proves itself and says nonsense has others.
    if (version !== undefined) differences.push({ ...version, ours: ourValue, theirs: theirValue });
  };
  for (const [key, value] of ours) {
    const other = theirs.get(key);
    if (other === undefined || !value.equals(other)) tell(key, value, other);
  }
  for (const [key, value] of theirs) if (!ours.has(key)) tell(key, undefined, value);
  return differences.sort((x, y) => x.seq - y.seq);
}

function entriesOf(opened: readonly Opened[], bound: Buffer | undefined): Map<string, Buffer> {
  const entries = new Map<string, Buffer>();
  for (const { node } of opened) {
    if (node.level !== 0) continue;
    for (let index = 0; index < node.count; index++) {
      const key = node.key(index);
      if (bound !== undefined && Buffer.compare(key, bound) > 0) break;
      entries.set(key.toString('latin1'), node.value(index));
    }
  }
  return entries;
}
