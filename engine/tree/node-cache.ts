/**
 * Decoded tree nodes kept in memory, limited by bytes, one cache for all shards.
 *
 *   home (a map per store): address -> node        the way in after a miss
 *   parent.links[i] -> child                       the way in that searches take: no map between levels
 *
 * A node that several versions of the tree share is linked from one parent at a time, the one that asked last. Eviction is
 * the clock's: a hand goes round, spares what was used since it last passed, and drops the rest.
 *
 * Invariants: a linked node is in the cache; an evicted one is linked from nowhere (whoever still reads it keeps it alive, its
 * bytes never change). Bytes may pass the limit by the newest node. In memory only: a crash costs reads, nothing else.
 */
import type { Node } from './node.js';

/** Memory of a node beside its bytes, roughly: the object, its buffer, its place in map and ring. */
const OVERHEAD_BYTES = 400;
const LINK_BYTES = 8;
/** What a search keeps of a key. */
const HEAD_BYTES = 4;

export class NodeCache {
  readonly limitBytes: number;
  #bytes = 0;
  #ring: Node[] = [];
  #hand = 0;
  #loads = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Nodes that were decoded because they were not here. */
  get loads(): number {
    return this.#loads;
  }

  get nodes(): number {
    return this.#ring.length;
  }

  add(home: Map<number, Node>, address: number, node: Node): void {
    this.#loads++;
    home.set(address, node);
    node.home = home;
    node.place = address;
    node.used = true;
    this.#bytes += weight(node);
    this.#ring.push(node);
    while (this.#bytes > this.limitBytes && this.#ring.length > 1) this.#evictOne(node);
  }

  link(parent: Node, index: number, child: Node): void {
    if (parent.home === undefined || child.home === undefined) return;
    unlink(child);
    parent.links ??= new Array<Node | undefined>(parent.count).fill(undefined);
    parent.links[index] = child;
    child.parent = parent;
    child.parentIndex = index;
  }

  /** Drops all nodes of one store, or those at some addresses. */
  forget(home: Map<number, Node>, isGone: (address: number) => boolean = () => true): void {
    const kept: Node[] = [];
    for (const node of this.#ring) {
      if (node.home === home && isGone(node.place)) this.#drop(node);
      else kept.push(node);
    }
    this.#ring = kept;
    this.#hand = 0;
  }

  #evictOne(spared: Node): void {
    for (;;) {
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const node = this.#ring[this.#hand]!;
      if (node === spared) {
        this.#hand++;
      } else if (node.used) {
        node.used = false;
        this.#hand++;
      } else {
        const last = this.#ring.pop()!;
        if (last !== node) this.#ring[this.#hand] = last;
        this.#drop(node);
        return;
      }
    }
  }

  #drop(node: Node): void {
    this.#bytes -= weight(node);
    node.home?.delete(node.place);
    node.home = undefined;
    unlink(node);
    if (node.links !== undefined) for (const child of node.links) if (child !== undefined) child.parent = undefined;
    node.links = undefined;
  }
}

function unlink(child: Node): void {
  const { parent } = child;
  if (parent?.links !== undefined) parent.links[child.parentIndex] = undefined;
  child.parent = undefined;
}

function weight(node: Node): number {
  return node.bytes.length + OVERHEAD_BYTES + node.count * (node.level > 0 ? HEAD_BYTES + LINK_BYTES : HEAD_BYTES);
}
