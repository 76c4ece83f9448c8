/** Group commit for stores without one: writes that arrive while a batch is under way make the next batch. */
import type { BenchRecord } from './data/index.js';

interface Waiting {
  readonly record: BenchRecord;
  resolve(): void;
  reject(error: unknown): void;
}

export function groupCommit(writeAll: (records: readonly BenchRecord[]) => unknown): (record: BenchRecord) => Promise<void> {
  let queue: Waiting[] = [];
  let running = false;
  const drain = async () => {
    while (queue.length > 0) {
      const group = queue;
      queue = [];
      try {
        await writeAll(group.map(({ record }) => record));
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    running = false;
  };
  return (record) =>
    new Promise((resolve, reject) => {
      queue.push({ record, resolve, reject });
      if (running) return;
      running = true;
      // After this turn of the loop: everybody who writes in it goes along.
      setImmediate(drain);
    });
}
