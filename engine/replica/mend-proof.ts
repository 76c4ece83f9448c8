/**
 * Whether what a copy offers is what was here: held against our own tree, which has the hash of every live version.
 *
 *   offered record, seq up to the tree's:  in the tree with this hash -> proven     not in the tree -> dropped by a trim, or a lie
 *   in the tree, not offered                                        -> left out by a stale or trimmed donor
 *   beyond the tree                                                 -> only the root of all of it can tell
 *
 * Reads only. What it answers is what the tree would become by the offer; who may say yes to that decides (mend.ts).
 */
import { CheckedDrops, removals } from '../check-drops.js';
import { equalBytes } from '../format/bytes.js';
import { hex } from '../format/hash.js';
import { entityKeyFromBytes, treeKey } from '../format/keys.js';
import { writeLeafValue } from '../format/leaf-value.js';
import { storedRecordHash } from '../format/record-hash.js';
import { isGap, type ShardLog, type StoredBatch } from '../log/index.js';
import type { Clock } from '../platform/platform.js';
import type { OfferedChange } from '../replica.js';
import { SeqSet } from '../retention/seq-set.js';
import type { TreeStore } from '../tree/tree-store.js';
import { SEQ_BYTES, type TreeChange, type TreeRoot } from '../tree/types.js';
import { type HashHex, MAX_SEQ, type ShardId } from '../types.js';
import type { Offer } from './mend-source.js';

export interface ProofContext {
  readonly shard: ShardId;
  readonly clock: Clock;
  readonly log: ShardLog;
  readonly store: TreeStore;
  readonly tree: { readonly seq: number; readonly root: TreeRoot | undefined };
  /** Whether retention has ever dropped anything here. */
  readonly wasTrimmed: boolean;
}

export interface HeldAgainstTree {
  /** Offered, up to the tree's seq, and no longer live. */
  readonly dropped: ReadonlySet<number>;
  /** Where tree and offer say different things. */
  readonly changes: readonly OfferedChange[];
  /** Something in it lies beyond the tree. */
  readonly isBeyond: boolean;
  readonly treeChanges: readonly TreeChange[];
  /** A live version that a trim in the offer, one that the tree has applied, would drop. */
  readonly dropsAlive: number | undefined;
}

const SLICE_ENTRIES = 4000;

export async function holdAgainstTree(context: ProofContext, offer: Offer, fromSeq: number, toSeq: number): Promise<HeldAgainstTree> {
  const { tree, wasTrimmed } = context;
  const trims = new SeqSet();
  for (const { seq, event } of offer.events) if (event.type === 'trim' && seq <= tree.seq) trims.addRuns(event.runs);
  const { expected, dropsAlive } = await entriesBetween(context, fromSeq, toSeq, trims);
  const dropped = new Set<number>();
  const changes: OfferedChange[] = [];
  const treeChanges: TreeChange[] = [];
  for (const record of offer.records) {
    if (record.seq > tree.seq) continue;
    const known = expected.get(record.seq);
    expected.delete(record.seq);
    if (known === undefined && wasTrimmed) dropped.add(record.seq);
    else if (known === undefined || !equalBytes(known.hash, record.hash) || known.entity !== record.entity) {
      if (known !== undefined && known.entity !== record.entity)
        treeChanges.push({ key: treeKey(known.entity, record.seq), value: undefined });
      treeChanges.push({ key: treeKey(record.entity, record.seq), value: writeLeafValue({ ...record, kind: record.kind }) });
      changes.push({ seq: record.seq, hash: hex(record.hash) });
    }
  }
  for (const [seq, { entity }] of expected) {
    treeChanges.push({ key: treeKey(entity, seq), value: undefined });
    changes.push({ seq, hash: undefined });
  }
  return { dropped, changes, isBeyond: toSeq > tree.seq, treeChanges: inOrder(treeChanges), dropsAlive };
}

interface Live {
  readonly entity: string;
  readonly hash: Uint8Array;
}

/** Live versions by seq, and one of all that is in `trims`. */
async function entriesBetween(
  { tree, store, clock }: ProofContext,
  fromSeq: number,
  toSeq: number,
  trims: SeqSet,
): Promise<{ readonly expected: Map<number, Live>; readonly dropsAlive: number | undefined }> {
  const expected = new Map<number, Live>();
  let dropsAlive: number | undefined;
  if (tree.root === undefined || fromSeq > tree.seq) return { expected, dropsAlive };
  const cursor = store.cursor(tree.root);
  let seen = 0;
  for (let valid = cursor.seekFirst(); valid; valid = cursor.next()) {
    if (++seen % SLICE_ENTRIES === 0) await clock.yield();
    const seq = cursor.seq();
    if (trims.size > 0 && trims.has(seq)) dropsAlive ??= seq;
    if (seq >= fromSeq && seq <= toSeq) expected.set(seq, { entity: cursor.entity(), hash: Uint8Array.from(cursor.entry().hash) });
  }
  return { expected, dropsAlive };
}

export interface RootAt {
  readonly seq: number;
  readonly root: HashHex;
}

/** The root that the tree would have at its own seq. No fold may be under way; nothing is kept of it. */
export async function rootWith(context: ProofContext, treeChanges: readonly TreeChange[]): Promise<RootAt> {
  return { seq: context.tree.seq, root: await rootOf(context, treeChanges) };
}

export interface RootBeyond extends RootAt {
  /** What the first checkpoint event of our own log behind the offer says of that seq; undefined where there is none. */
  readonly named: HashHex | undefined;
}

/**
 * The root that the log would have with the offer in it: through what our own log's next checkpoint covers, or through its end. No fold may
 * be under way; nothing is kept of it.
 */
export async function rootBeyond(
  context: ProofContext,
  offer: Offer,
  treeChanges: readonly TreeChange[],
  fromSeq: number,
  toSeq: number,
): Promise<RootBeyond> {
  const { tree, store, log, clock, shard } = context;
  let through = log.durableSeq;
  let named: HashHex | undefined;
  for (const batch of ownBatches(log, toSeq + 1, log.durableSeq)) {
    if (batch.event?.type !== 'checkpoint' || batch.event.throughSeq < toSeq) continue;
    through = batch.event.throughSeq;
    named = hex(batch.event.root);
    break;
  }
  const changes = new Map(treeChanges.map((change) => [latin1(change.key), change]));
  const drops = new CheckedDrops();
  const parts = [ownBatches(log, tree.seq + 1, fromSeq - 1), offer.batches, ownBatches(log, Math.max(tree.seq, toSeq) + 1, through)];
  for (const part of parts) {
    for (const batch of part) {
      if (batch.event?.type === 'trim' && batch.firstSeq > tree.seq) drops.met(batch.firstSeq, batch.event.runs);
      for (const record of batch.records) {
        const { seq, time, kind, supersedes } = record;
        if (seq <= tree.seq || seq > through) continue;
        const key = treeKey(entityKeyFromBytes(record.collection, record.key), seq);
        changes.set(latin1(key), { key, value: writeLeafValue({ time, kind, supersedes, hash: storedRecordHash(shard, record) }) });
      }
      await clock.yield();
    }
  }
  const dropped = drops.take(through);
  if (dropped !== undefined) {
    for (const [key, { key: bytes }] of [...changes]) if (dropped.has(seqOfKey(bytes))) changes.delete(key);
    const gone = tree.root === undefined ? [] : await removals(store.cursor(tree.root), dropped, () => clock.yield());
    for (const change of gone) changes.set(latin1(change.key), change);
  }
  return { seq: through, root: await rootOf(context, inOrder([...changes.values()])), named };
}

function latin1(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

function seqOfKey(key: Uint8Array): number {
  return MAX_SEQ - Buffer.from(key.buffer, key.byteOffset, key.length).readUIntBE(key.length - SEQ_BYTES, SEQ_BYTES);
}

function* ownBatches(log: ShardLog, fromSeq: number, toSeq: number): Generator<StoredBatch, void, undefined> {
  if (fromSeq > toSeq) return;
  for (const batch of log.batches(fromSeq, toSeq)) if (!isGap(batch)) yield batch;
}

/** Never committed: the next fold begins where the last one ended. */
async function rootOf({ clock, store, tree }: ProofContext, changes: readonly TreeChange[]): Promise<HashHex> {
  const steps = store.apply(tree.root, changes);
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done === true) return hex(step.value.hash);
    if (store.wantsDrain) await store.drain();
    await clock.yield();
  }
}

function inOrder(changes: readonly TreeChange[]): TreeChange[] {
  return [...changes].sort((a, b) => Buffer.compare(a.key, b.key));
}
