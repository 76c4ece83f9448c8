/**
 * A frozen memtable as columns of bytes, for the fold: copied slice by slice, so that whoever else runs on this thread is held up
 * for a fraction of a millisecond at a time, and in the order of slots: sorting is the folding thread's work.
 */
import { HASH_BYTES } from './format/hash.js';
import type { Memtable } from './memtable.js';
import type { VersionRun } from './tree/version-run.js';

const SLICE_SLOTS = 2048;

/** Yields between slices. The table must not change meanwhile. */
export function* runOf(table: Memtable): Generator<void, VersionRun> {
  const { count } = table;
  const entityEnds = new Uint32Array(count);
  let entityBytes = 0;
  for (let slot = 0; slot < count; slot++) {
    entityBytes += table.entityAt(slot).length;
    entityEnds[slot] = entityBytes;
    if (slot % (8 * SLICE_SLOTS) === 0) yield;
  }
  const entities = Buffer.allocUnsafeSlow(entityBytes);
  const seqs = new Float64Array(count);
  const times = new Float64Array(count);
  const supersedes = new Float64Array(count);
  const kinds = new Uint8Array(count);
  const hashes = new Uint8Array(count * HASH_BYTES);
  let at = 0;
  for (let slot = 0; slot < count; slot++) {
    at += entities.write(table.entityAt(slot), at, 'latin1');
    seqs[slot] = table.seqAt(slot);
    times[slot] = table.timeAt(slot);
    supersedes[slot] = table.supersedesAt(slot);
    kinds[slot] = table.kindAt(slot);
    hashes.set(table.hashAt(slot), slot * HASH_BYTES);
    if (slot % SLICE_SLOTS === 0) yield;
  }
  return { count, entities, entityEnds, seqs, times, supersedes, kinds, hashes };
}
