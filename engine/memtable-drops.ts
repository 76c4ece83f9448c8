/**
 * What a fold changes when trims are due: versions that go, out of the tree, and versions of the memtable that stay, into it.
 * The memtable is small then (what came before the trims was folded before), so a change is an object here.
 */
import { splitEntityKey, treeKey } from './format/keys.js';
import { type IndexEntry, writeLeafValue } from './format/leaf-value.js';
import type { Memtable } from './memtable.js';
import type { SeqSet } from './retention/seq-set.js';
import type { TreeChange } from './tree/types.js';

/** Entries looked at before others get a turn. */
const SLICE_ENTRIES = 4000;

/** Strictly ascending changes, and how many versions of each collection go. */
export async function droppingChanges(
  entries: Iterable<{ readonly entity: string; readonly entry: IndexEntry }>,
  table: Memtable,
  drops: SeqSet,
  pause: () => Promise<void>,
): Promise<{ readonly changes: readonly TreeChange[]; readonly versions: ReadonlyMap<string, number> }> {
  const versions = new Map<string, number>();
  const count = (entity: string): void => {
    const { collection } = splitEntityKey(entity);
    versions.set(collection, (versions.get(collection) ?? 0) + 1);
  };
  const added: TreeChange[] = [];
  for (let slot = 0; slot < table.count; slot++) {
    const entity = table.entityAt(slot);
    const seq = table.seqAt(slot);
    if (drops.has(seq)) {
      count(entity);
      continue;
    }
    const [time, kind, supersedes, hash] = [table.timeAt(slot), table.kindAt(slot), table.supersedesAt(slot), table.hashAt(slot)];
    added.push({ key: treeKey(entity, seq), value: writeLeafValue({ time, kind, supersedes, hash }) });
  }
  added.sort((a, b) => Buffer.compare(a.key, b.key));
  const changes: TreeChange[] = [];
  let next = 0;
  let seen = 0;
  for (const { entity, entry } of entries) {
    if (++seen % SLICE_ENTRIES === 0) await pause();
    if (!drops.has(entry.seq)) continue;
    count(entity);
    const key = treeKey(entity, entry.seq);
    for (let add = added[next]; add !== undefined && Buffer.compare(add.key, key) < 0; add = added[++next]) changes.push(add);
    changes.push({ key, value: undefined });
  }
  for (; next < added.length; next++) changes.push(added[next]!);
  return { changes, versions };
}
