/**
 * What is left of a frozen memtable where trims are due: versions that are in it and go never reach the tree. The fold takes those
 * that are in the tree already out of it (tree/dropped-versions.ts).
 */
import { splitEntityKey } from './format/keys.js';
import type { Memtable } from './memtable.js';
import type { SeqSet } from './retention/seq-set.js';

/** Versions looked at before others get a turn. */
const SLICE_SLOTS = 4000;

/** The table itself where nothing of it goes, and how many versions of each collection do. */
export async function keptOf(
  table: Memtable,
  drops: SeqSet,
  pause: () => Promise<void>,
): Promise<{ readonly kept: Memtable; readonly dropped: ReadonlyMap<string, number> }> {
  const dropped = new Map<string, number>();
  let goes = 0;
  for (let slot = 0; slot < table.count; slot++) if (drops.has(table.seqAt(slot))) goes++;
  if (goes === 0) return { kept: table, dropped };
  const kept = table.another();
  for (let slot = 0; slot < table.count; slot++) {
    if (slot % SLICE_SLOTS === SLICE_SLOTS - 1) await pause();
    const entity = table.entityAt(slot);
    const seq = table.seqAt(slot);
    if (drops.has(seq)) {
      const { collection } = splitEntityKey(entity);
      dropped.set(collection, (dropped.get(collection) ?? 0) + 1);
    } else kept.add(entity, seq, table.timeAt(slot), table.kindAt(slot), table.supersedesAt(slot), table.hashAt(slot));
  }
  return { kept, dropped };
}

/** Adds the second's counts to the first's. */
export function addCounts(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const sum = new Map(a);
  for (const [collection, count] of b) sum.set(collection, (sum.get(collection) ?? 0) + count);
  return sum;
}
