/** Answers given for points in time, to be given again (law 5): the newest five. */
import assert from 'node:assert/strict';
import type { Database } from '../../engine/database.js';
import { isVarveError } from '../../engine/errors.js';
import { describeRecord, microsToTime } from './compare.js';

export class RememberedAnswers {
  readonly #collections: readonly string[];
  #answers: { readonly time: string; readonly listing: readonly string[] }[] = [];

  constructor(collections: readonly string[]) {
    this.#collections = collections;
  }

  /** Asks as of now, unless the clock is behind the newest record. */
  async rememberNow(db: Database, nowMicros: number): Promise<void> {
    const newest = db.newestTime();
    const time = microsToTime(nowMicros);
    if (newest !== undefined && newest > time) return;
    this.#answers.push({ time, listing: this.#everything(await db.asOf(time)) });
    if (this.#answers.length > 5) this.#answers.shift();
  }

  /** Forgets those whose time may have been written to since. */
  keep(holds: (time: string) => boolean): void {
    this.#answers = this.#answers.filter(({ time }) => holds(time));
  }

  async compare(db: Database): Promise<void> {
    for (const { time, listing } of this.#answers) {
      try {
        assert.deepEqual(this.#everything(await db.asOf(time)), listing, `as of ${time}, asked again`);
      } catch (error) {
        // The clock may have jumped back behind it.
        if (!isVarveError(error, 'TIME_AHEAD')) throw error;
      }
    }
  }

  #everything(view: ReturnType<Database['now']>): string[] {
    return this.#collections.flatMap((collection) => view.list(collection, { limit: 1000 }).map(describeRecord));
  }
}
