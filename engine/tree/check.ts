/**
 * Full verification of one version of a tree, from disk and past the cache: what `varve check` runs.
 *
 * Of every node: its frame's CRC, its lengths, its BLAKE3 against its parent's word, last key and entries below likewise, keys
 * ascending also over the node before, the one encoding there is for its keys, and boundaries: the node ends by the
 * rule exactly at its end (the last node of a level may end sooner), so that a rebuild would give the same root.
 *
 * A node that cannot be read is a problem, its subtree is passed over, the rest is still looked at. Reads only.
 */
import { isVarveError } from '../errors.js';
import { equalBytes } from '../format/bytes.js';
import type { BoundaryRule } from './boundary.js';
import { compareBytes } from './bytes.js';
import { EMPTY_ROOT_HASH, type Node } from './node.js';
import type { TreeStore } from './tree-store.js';
import type { TreeRoot } from './types.js';

/** A tree that is bad everywhere need not be listed whole. */
const MAX_PROBLEMS = 100;

export interface TreeProblem {
  readonly file: number;
  readonly offset: number;
  readonly what: string;
}

export interface TreeReport {
  readonly nodes: number;
  readonly entries: number;
  /** Of the frames of this version. */
  readonly bytes: number;
  readonly problems: readonly TreeProblem[];
}

/** What a parent says of a child. */
interface Expected {
  readonly file: number;
  readonly offset: number;
  readonly length: number;
  readonly level: number;
  readonly hash: Uint8Array;
  readonly entries: number;
  /** Undefined for the root. */
  readonly lastKey: Uint8Array | undefined;
  /** Last of its level. */
  readonly last: boolean;
}

/** Yields after every node. `rule`: where the nodes should end, by default as the store makes them. */
export function* checkTree(store: TreeStore, root: TreeRoot, rule: BoundaryRule = store.rule): Generator<void, TreeReport> {
  const { reader } = store;
  const problems: TreeProblem[] = [];
  const report = { nodes: 0, entries: 0, bytes: 0, problems };
  /** Last key seen on each level. */
  const previous: (Buffer | undefined)[] = [];
  if (root.height < 0 && !equalBytes(root.hash, EMPTY_ROOT_HASH))
    problems.push({ file: 0, offset: 0, what: 'the empty tree has another hash' });
  const stack: Expected[] = root.height < 0 ? [] : [{ ...root, level: root.height, lastKey: undefined, last: true }];
  for (let expected = stack.pop(); expected !== undefined; expected = stack.pop()) {
    const { file, offset } = expected;
    const complain = (what: string): void => {
      if (problems.length < MAX_PROBLEMS) problems.push({ file, offset, what });
    };
    try {
      const node = reader.readFresh(file, offset, expected.length, expected.level);
      report.nodes++;
      report.bytes += expected.length;
      if (node.level === 0) report.entries += node.count;
      checkNode(node, expected, rule, previous, complain);
      for (let i = node.count - 1; node.level > 0 && i >= 0; i--) stack.push(childOf(node, i, expected.last));
    } catch (error) {
      if (!isVarveError(error, 'CORRUPT')) throw error;
      complain(error.details.what);
    }
    yield;
  }
  return report;
}

function childOf(node: Node, index: number, last: boolean): Expected {
  return {
    file: node.childFile(index),
    offset: node.childOffset(index),
    length: node.childLength(index),
    level: node.level - 1,
    hash: node.childHash(index),
    entries: node.entriesBelow(index),
    lastKey: node.key(index),
    last: last && index === node.count - 1,
  };
}

function checkNode(
  node: Node,
  expected: Expected,
  rule: BoundaryRule,
  previous: (Buffer | undefined)[],
  complain: (what: string) => void,
): void {
  if (!equalBytes(node.hash(), expected.hash)) complain('node does not have the hash its parent names');
  if (node.entries() !== expected.entries) complain('node does not have as many entries below as its parent says');
  const lastKey = node.key(node.count - 1);
  if (expected.lastKey === undefined) {
    if (node.level > 0 && node.count === 1) complain('root has a single child');
  } else if (!equalBytes(lastKey, expected.lastKey)) {
    complain('node does not end with the key its parent names');
  }
  if (sharedBytes(node.key(0), lastKey) !== node.prefixBytes) complain('node has a prefix that is not the longest');
  let filled = 0;
  for (let i = 0; i < node.count; i++) {
    const key = node.key(i);
    const before = previous[node.level];
    if (before !== undefined && compareBytes(before, key) >= 0) complain('keys are not ascending');
    previous[node.level] = key;
    const size = key.length + node.valueBytes + 2;
    filled += size;
    const ends = rule.ends(node.level, i + 1, filled, size, key, 0, key.length);
    if (ends && i < node.count - 1) complain('node goes on after a boundary');
    if (!ends && i === node.count - 1 && !expected.last) complain('node ends where no boundary is');
  }
}

function sharedBytes(a: Uint8Array, b: Uint8Array): number {
  let shared = 0;
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++;
  return shared;
}
