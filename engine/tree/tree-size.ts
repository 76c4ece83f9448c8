/** How many bytes of the tree files a root reaches: inner nodes name the length of each child, so that no leaf is read. Only reads. */
import type { Node } from './node.js';
import type { NodeReader } from './node-reader.js';
import type { TreeRoot } from './types.js';

/** Of frames. Yields after every inner node. */
export function* reachableBytes(reader: NodeReader, root: TreeRoot): Generator<void, number> {
  if (root.height < 0) return 0;
  let bytes = root.length;
  const waiting: Node[] = [];
  for (let node = root.height > 0 ? reader.root(root) : undefined; node !== undefined; node = waiting.pop()) {
    for (let i = 0; i < node.count; i++) {
      bytes += node.childLength(i);
      if (node.level > 1) waiting.push(reader.child(node, i));
    }
    yield;
  }
  return bytes;
}
