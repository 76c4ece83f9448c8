/**
 * The key sequences of objects met before, as bytes: a tree whose edges are keys as they stand between their quotes. Documents of one
 * kind have the same keys in the same order, so the next key is guessed and compared, and what is known of a sequence (that no key
 * comes twice, and in which order they are sorted) need not be found out again.
 *
 *   root -"id"-> node -"name"-> node -"email"-> …       a node: the keys from the root to here; `order`: how they are sorted
 *
 * Invariants: no key comes twice on a path; only keys without escapes are edges (others are spelt in more than one way), so equal
 * bytes are equal keys; the tree is bounded, and forgotten as a whole when full. Memory only.
 */

/** Objects with more keys are taken for dictionaries: their keys would push out what comes again. */
export const MAX_SHAPE_KEYS = 40;
const MAX_KEY_BYTES = 64;
const MAX_BRANCHES = 8;
const MAX_NODES = 4096;

export class KeyNode {
  /** With its quotes. */
  readonly raw: Uint8Array;
  readonly text: string;
  readonly parent: KeyNode | undefined;
  /** Keys from the root to here. */
  readonly count: number;
  /** What came next the last time. */
  next: KeyNode | undefined;
  readonly branches: KeyNode[] = [];
  /** Positions of the keys in sorted order; null where they are sorted as they come; undefined before anyone asked. */
  order: readonly number[] | null | undefined;

  constructor(raw: Uint8Array, text: string, parent: KeyNode | undefined) {
    this.raw = raw;
    this.text = text;
    this.parent = parent;
    this.count = parent === undefined ? 0 : parent.count + 1;
  }
}

let root = new KeyNode(new Uint8Array(0), '', undefined);
let nodes = 0;

export function rootNode(): KeyNode {
  // Those that stand in it finish with what they have.
  if (nodes >= MAX_NODES) forgetShapes();
  return root;
}

export function forgetShapes(): void {
  root = new KeyNode(new Uint8Array(0), '', undefined);
  nodes = 0;
}

/** The node behind `bytes[from, to)`, a key in its quotes without escapes; undefined where the tree has no place for it. */
export function branchTo(node: KeyNode, bytes: Uint8Array, from: number, to: number): KeyNode | undefined {
  for (const branch of node.branches) if (isAt(branch.raw, bytes, from, to)) return (node.next = branch);
  if (node.branches.length >= MAX_BRANCHES || node.count >= MAX_SHAPE_KEYS || to - from > MAX_KEY_BYTES || nodes >= MAX_NODES)
    return undefined;
  // A copy, and not a Buffer's view of what it was cut from.
  const raw = new Uint8Array(bytes.subarray(from, to));
  const text = Buffer.from(raw.buffer, 1, raw.length - 2).toString('utf8');
  for (let known: KeyNode | undefined = node; known?.parent !== undefined; known = known.parent) if (known.text === text) return undefined;
  const branch = new KeyNode(raw, text, node);
  nodes++;
  node.branches.push(branch);
  node.next = branch;
  return branch;
}

/** The keys from the root to `node`, in the order they came. */
export function keysOf(node: KeyNode): string[] {
  const keys = new Array<string>(node.count);
  for (let at: KeyNode | undefined = node; at?.parent !== undefined; at = at.parent) keys[at.count - 1] = at.text;
  return keys;
}

/** As `KeyNode.order`. */
export function orderOf(node: KeyNode): readonly number[] | null {
  if (node.order === undefined) node.order = sortedOrder(keysOf(node));
  return node.order;
}

/** Positions of the keys in the order of their UTF-16 code units, or null where that is how they come. */
export function sortedOrder(keys: readonly string[]): readonly number[] | null {
  let isSorted = true;
  for (let i = 1; i < keys.length; i++) if (keys[i - 1]! >= keys[i]!) isSorted = false;
  if (isSorted) return null;
  return keys.map((_, i) => i).sort((a, b) => (keys[a]! < keys[b]! ? -1 : keys[a]! > keys[b]! ? 1 : 0));
}

function isAt(raw: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (raw.length !== to - from) return false;
  for (let i = 0; i < raw.length; i++) if (raw[i] !== bytes[from + i]) return false;
  return true;
}
