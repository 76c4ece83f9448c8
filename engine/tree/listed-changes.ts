/** A sorted run given as objects, one a change: what a level hands to the one above, and what tests say. */
import { assert } from '../errors.js';
import { compareBytes } from './bytes.js';
import type { ChangeSource, TreeChange } from './types.js';

const NOTHING = new Uint8Array(0);

export class ListedChanges implements ChangeSource {
  key: Uint8Array = NOTHING;
  value: Uint8Array | undefined;
  readonly #changes: Iterator<TreeChange>;
  #started = false;

  constructor(changes: Iterable<TreeChange>) {
    this.#changes = changes[Symbol.iterator]();
  }

  get length(): number {
    return this.key.length;
  }

  advance(): boolean {
    const next = this.#changes.next();
    if (next.done === true) return false;
    const { key, value } = next.value;
    assert(!this.#started || compareBytes(this.key, key) < 0, 'changes to a tree are strictly ascending');
    this.#started = true;
    this.key = key;
    this.value = value;
    return true;
  }
}

export function sourceOf(changes: ChangeSource | Iterable<TreeChange>): ChangeSource {
  return 'advance' in changes ? changes : new ListedChanges(changes);
}
