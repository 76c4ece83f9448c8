/**
 * The answers that are under way, in an array: each knows its place, the last one takes the place of one that is over.
 *
 * Not a Set: that makes its table anew after so many additions, the old table points to the new one and to all it held, and once a table
 * has lived long enough to be moved out of the young generation, it keeps every table behind it, and every request of theirs, alive
 * until the whole heap is looked through. A server of ten thousand requests a second then copies nearly each of them twice.
 */
import type { ServerResponse } from 'node:http';

const PLACE = Symbol('place');
type Placed = ServerResponse & { [PLACE]?: number | undefined };

export class UnderWay {
  readonly #answers: Placed[] = [];

  get size(): number {
    return this.#answers.length;
  }

  add(res: ServerResponse): void {
    (res as Placed)[PLACE] = this.#answers.push(res) - 1;
  }

  /** False where it is not, or no more, under way. */
  delete(res: ServerResponse): boolean {
    const place = (res as Placed)[PLACE];
    if (place === undefined) return false;
    const last = this.#answers.pop()!;
    if (last !== res) {
      this.#answers[place] = last;
      last[PLACE] = place;
    }
    (res as Placed)[PLACE] = undefined;
    return true;
  }

  /** Those of this moment: any of them may end meanwhile. */
  *[Symbol.iterator](): Generator<ServerResponse, void, undefined> {
    yield* this.#answers.slice();
  }
}
