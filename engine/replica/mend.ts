/**
 * Puts right what cannot be read in a shard's log: with what a copy offers, where that is proven, and with what is still readable here.
 *
 *   offer -> sound? -> proven? -> each segment it touches: readable frames + offer, as the next generation -> read back -> swap
 *
 * Invariants: nothing of an offer is taken unless our own tree has every live version of it with its hash, or whoever may say so agrees to
 * the root that results. Bodies that an erasure covers and versions that were dropped do not come back. At every moment the old file
 * stands or the new one; a crash leaves one of them, and a `.tmp`.
 */
import { type SwapLog, swapSegments } from '../compaction/swap.js';
import { assert, VarveError } from '../errors.js';
import { batchHeadBytes, decodeBatchHead, encodeBatchHead, setBatchBytes } from '../format/batch.js';
import { encodeErased, erasedBytes } from '../format/erased-record.js';
import { decodeEvent } from '../format/event.js';
import { FRAME_DATA, FRAME_HEAD_BYTES } from '../format/frame.js';
import { entityKey, entityKeyFromBytes } from '../format/keys.js';
import { decodeRecord, recordLengthAt } from '../format/record.js';
import { SEGMENT_HEADER_BYTES, type SegmentHeader, TEMPORARY_SUFFIX } from '../format/segment.js';
import { scanFrames } from '../log/frame-scanner.js';
import type { ShardLog } from '../log/index.js';
import type { Segment } from '../log/segment-state.js';
import type { Clock } from '../platform/platform.js';
import type { LogSlice, MendReport, OfferedChange } from '../replica.js';
import { ERASURES, type Erasure, Erasures } from '../retention/erasures.js';
import type { TreeStore } from '../tree/tree-store.js';
import type { TreeRoot } from '../tree/types.js';
import type { HashHex, ShardId } from '../types.js';
import { forgetMended, uncovered } from './gaps.js';
import { type HeldAgainstTree, holdAgainstTree, rootBeyond, rootWith } from './mend-proof.js';
import { type Offer, readOffer } from './mend-source.js';
import { type Piece, restoreSegment } from './segment-restore.js';

/** Asked for the root that results, and what it would change of what our tree has (nothing, where the offer only goes beyond it). */
export type Prove = (seq: number, root: HashHex, changes: readonly OfferedChange[]) => Promise<boolean>;

export interface MendContext {
  readonly shard: ShardId;
  readonly clock: Clock;
  readonly log: ShardLog;
  readonly store: TreeStore;
  readonly erasures: Erasures;
  /** The newest trim that the tree has applied; 0 for none. */
  readonly trimmedThrough: number;
  readonly wasTrimmed: boolean;
  tree(): { readonly seq: number; readonly root: TreeRoot | undefined };
  /** Runs it while no fold is under way. */
  betweenFolds<T>(work: () => Promise<T>): Promise<T>;
}

export interface Mended extends MendReport {
  /** The tree does not say what the log says now: it wants to be built anew. */
  readonly isTreeStale: boolean;
}

/** Throws UNSOUND, and changes nothing, where the offer is not proven; CORRUPT where other seqs of the same files cannot be read either. */
export async function mendLog(
  known: MendContext,
  fromSeq: number,
  toSeq: number,
  slices: readonly LogSlice[],
  prove: Prove,
): Promise<Mended> {
  const { log, shard } = known;
  const { last } = log.segmentSet;
  if (last !== undefined && !last.sealed && last.base <= toSeq && fromSeq <= last.lastSeq) await log.roll();
  await log.sealed();
  const offer = slices.length === 0 ? NOTHING : readOffer(shard, log.context.place(1, 0), fromSeq, toSeq, slices);
  const context = { ...known, erasures: withThoseIn(offer, known.erasures) };
  const held = slices.length === 0 ? undefined : await context.betweenFolds(() => proven(context, offer, fromSeq, toSeq, prove));
  const taken = held === undefined ? { pieces: [], erased: 0, records: 0 } : await piecesOf(context, offer, held);
  const targets = targetsOf(log, fromSeq, toSeq, offer);
  let file = '';
  for (const target of targets) {
    await replaceSegment(context, target, taken.pieces, held);
    file = target.path;
  }
  forgetMended(log);
  return {
    fromSeq,
    toSeq,
    records: taken.records,
    erased: taken.erased,
    file,
    isTreeStale: held !== undefined && (held.changes.length > 0 || held.isBeyond),
  };
}

const NOTHING: Offer = { slices: [], batches: [], records: [], events: [] };

/** Throws UNSOUND unless it is. */
async function proven(context: MendContext, offer: Offer, fromSeq: number, toSeq: number, prove: Prove): Promise<HeldAgainstTree> {
  const { shard, log, store, clock, wasTrimmed } = context;
  const proof = { shard, log, store, clock, wasTrimmed, tree: context.tree() };
  const held = await holdAgainstTree(proof, offer, fromSeq, toSeq);
  if (held.dropsAlive !== undefined) throw unproven(shard, fromSeq, toSeq, `a trim in it drops seq ${held.dropsAlive}, which is alive`);
  checkEvents(context, offer, proof.tree.seq);
  if (held.changes.length === 0 && !held.isBeyond) return held;
  if (!held.isBeyond) {
    const { seq, root } = await rootWith(proof, held.treeChanges);
    if (await prove(seq, root, held.changes)) return held;
    throw unproven(shard, fromSeq, toSeq, `${held.changes.length} versions are not what our tree has, such as seq ${held.changes[0]?.seq}`);
  }
  const { seq, root, named } = await rootBeyond(proof, offer, held.treeChanges, fromSeq, toSeq);
  if (named === root) return held;
  if (named !== undefined)
    throw unproven(shard, fromSeq, toSeq, `with it the root at seq ${seq} is not what the log's own checkpoint says`);
  if (await prove(seq, root, held.changes)) return held;
  throw unproven(shard, fromSeq, toSeq, `nobody vouches for the root ${root} at seq ${seq} that it leads to`);
}

/** Events are in no tree: what one would do must have been done already. Drops are held against the tree with the records. */
function checkEvents({ shard, erasures }: MendContext, offer: Offer, treeSeq: number): void {
  for (const { seq, event } of offer.events) {
    if (seq > treeSeq || event.type !== 'erasure') continue;
    const known = erasures.get(entityKeyFromBytes(event.collection, event.key));
    if (known === undefined || known.seq < seq) throw unproven(shard, seq, seq, 'it erases what was not erased');
  }
}

/** Also what the offer's own records tell of: they are held against the tree as all are, and may be among what cannot be read here. */
function withThoseIn({ batches }: Offer, known: Erasures): Erasures {
  const erasures = new Erasures();
  const note = (erasure: Erasure): void => {
    const entity = entityKey(erasure.collection, erasure.key);
    if ((erasures.get(entity)?.seq ?? 0) < erasure.seq) erasures.set(entity, erasure);
  };
  for (const erasure of known.all) note(erasure);
  for (const { records } of batches) {
    for (const { collectionText, bodyText } of records) {
      if (collectionText !== ERASURES || bodyText === '') continue;
      try {
        note(JSON.parse(bodyText) as Erasure);
      } catch {
        // No erasure: the event it should tell of is refused.
      }
    }
  }
  return erasures;
}

function unproven(shard: ShardId, fromSeq: number, toSeq: number, what: string): VarveError {
  return new VarveError('UNSOUND', `shard ${shard}: what was offered for seqs ${fromSeq} to ${toSeq} is not proven: ${what}`, {
    shard,
    what,
  });
}

interface Taken {
  readonly pieces: readonly (Piece & { readonly epoch: number; readonly compactedThrough: number })[];
  readonly records: number;
  readonly erased: number;
}

/** The offer without what is not to come back. */
async function piecesOf(context: MendContext, offer: Offer, held: HeldAgainstTree): Promise<Taken> {
  let records = 0;
  let erased = 0;
  const pieces: (Piece & { epoch: number; compactedThrough: number })[] = [];
  for (const { batches, ...rest } of offer.slices) {
    const parts: Uint8Array[] = [];
    for (let at = 0; at < batches.length; ) {
      const batch = decodeBatchHead(batches, at, batches.length);
      assert(batch !== undefined, 'batches were checked');
      const kept = batch.isEvent
        ? { bytes: batches.subarray(at, at + batch.totalBytes), records: 0, erased: 0 }
        : cleaned(context, batches, at, held);
      if (kept !== undefined) {
        parts.push(kept.bytes);
        records += kept.records;
        erased += kept.erased;
      }
      at += batch.totalBytes;
    }
    pieces.push({ ...rest, batches: Buffer.concat(parts) });
    await context.clock.yield();
  }
  return { pieces, records, erased };
}

/** The batch without dropped records and erased bodies; undefined where nothing is left of it. */
function cleaned(
  { erasures, log }: MendContext,
  bytes: Uint8Array,
  at: number,
  held: HeldAgainstTree,
): { readonly bytes: Uint8Array; readonly records: number; readonly erased: number } | undefined {
  const batch = decodeBatchHead(bytes, at, bytes.length)!;
  const end = at + batch.totalBytes;
  const items: Uint8Array[] = [];
  let erased = 0;
  let dropped = 0;
  for (let p = at + batch.headBytes; p < end; ) {
    const length = recordLengthAt(bytes, p, end);
    const record = decodeRecord(bytes, p, length)!;
    if (held.dropped.has(record.seq)) dropped++;
    else if (erasures.coversRecord(record) && erasedBytes(bytes, p) > 0) {
      const twin = Buffer.alloc(erasedBytes(bytes, p));
      encodeErased(twin, 0, bytes, p, length, log.context.recordSeed);
      items.push(twin);
      erased++;
    } else items.push(bytes.subarray(p, p + length));
    p += length;
  }
  if (dropped === 0 && erased === 0) return { bytes: bytes.subarray(at, end), records: items.length, erased };
  if (items.length === 0 && (batch.idempotency === undefined || erased > 0)) return undefined;
  // A content hash would confirm a guess of what was erased.
  const idempotency = erased > 0 ? undefined : batch.idempotency;
  const head = Buffer.alloc(batchHeadBytes(idempotency));
  const { firstSeq, lastSeq, time, isEvent } = batch;
  encodeBatchHead(head, 0, { count: items.length, firstSeq, lastSeq, time, isEvent, idempotency });
  const whole = Buffer.concat([head, ...items]);
  setBatchBytes(whole, 0, whole.length);
  return { bytes: whole, records: items.length, erased };
}

/** A file to be written: in place of a segment, or where none is. */
interface Target {
  readonly source: Segment | undefined;
  readonly base: number;
  readonly lastSeq: number;
  readonly epoch: number;
  readonly path: string;
}

function targetsOf(log: ShardLog, fromSeq: number, toSeq: number, offer: Offer): Target[] {
  const targets: Target[] = [];
  const { context, segmentSet } = log;
  for (const source of segmentSet.all) {
    if (source.lastSeq < fromSeq || source.base > toSeq) continue;
    const epoch = source.header?.epoch ?? source.epoch;
    targets.push({ source, base: source.base, lastSeq: source.lastSeq, epoch, path: source.path });
  }
  // Where no file is: one for each run of slices of one epoch, none too large.
  let open: { base: number; lastSeq: number; epoch: number; bytes: number } | undefined;
  const close = (): void => {
    if (open !== undefined) targets.push({ source: undefined, ...open, path: context.segment(open.base, 1).path });
    open = undefined;
  };
  for (const slice of offer.slices) {
    for (const { fromSeq: first, toSeq: last } of uncovered(segmentSet.all, slice.firstSeq, slice.lastSeq)) {
      const goesOn =
        open !== undefined && open.epoch === slice.epoch && open.lastSeq + 1 === first && open.bytes < context.options.segmentBytes;
      if (!goesOn) close();
      open ??= { base: first, lastSeq: last, epoch: slice.epoch, bytes: 0 };
      open.lastSeq = last;
      open.bytes += slice.batches.length;
    }
  }
  close();
  return targets.sort((a, b) => a.base - b.base);
}

async function replaceSegment(
  context: MendContext,
  target: Target,
  offered: Taken['pieces'],
  held: HeldAgainstTree | undefined,
): Promise<void> {
  const { log } = context;
  const { source, base, lastSeq, epoch } = target;
  const own = source === undefined ? [] : readablePieces(log, source, offered);
  const pieces = merge(own, offered, base, lastSeq, log, target.path);
  const isTrimmed = held !== undefined && held.dropped.size > 0;
  const unknown = source !== undefined && source.header === undefined && context.wasTrimmed;
  const compactedThrough = Math.max(
    source?.header?.compactedThrough ?? 0,
    ...offered.filter((piece) => piece.lastSeq >= base && piece.firstSeq <= lastSeq).map((piece) => piece.compactedThrough),
    isTrimmed || unknown ? Math.max(context.trimmedThrough, log.compactedThrough) : 0,
  );
  const header: SegmentHeader = {
    epoch,
    replacesFrom: base,
    replacesTo: lastSeq,
    compactedThrough,
    attestedSeq: source?.header?.attestedSeq ?? endBefore(log, pieces, base),
    createdTime: source?.header?.createdTime ?? Math.max(0, context.clock.nowMicros()),
  };
  const generation = (source?.place.generation ?? 0) + 1;
  const { minTime = 0, maxTime = 0 } = source ?? {};
  const mended = await restoreSegment({ context: log.context, base, generation, header, pieces, minTime, maxTime });
  if (source === undefined) await addSegment(log, mended);
  else if (log.segmentSet.all.includes(source)) await swapSegments(log, [source], mended);
  else {
    log.context.platform.files.remove(mended.path + TEMPORARY_SUFFIX);
    throw new VarveError('UNAVAILABLE', `${source.path} was replaced meanwhile`, { shard: context.shard, reason: 'compacted meanwhile' });
  }
}

/** The last seq before it that counts: where it begins an epoch, the end of the one before. */
function endBefore(log: ShardLog, [first]: readonly Piece[], base: number): number {
  const batch = first === undefined ? undefined : decodeBatchHead(first.batches, 0, first.batches.length);
  if (first === undefined || batch?.isEvent !== true) return base - 1;
  const found = decodeEvent(first.batches, batch.headBytes, batch.totalBytes - batch.headBytes, log.context.recordSeed);
  return found?.event.type === 'epoch' ? found.event.endsAt : base - 1;
}

/** Of the segment's own frames, those that are whole, and not offered anew. */
function readablePieces(log: ShardLog, source: Segment, offered: readonly Piece[]): Piece[] {
  const pieces: Piece[] = [];
  const isOffered = (firstSeq: number, lastSeq: number) => offered.some((piece) => piece.firstSeq <= firstSeq && lastSeq <= piece.lastSeq);
  const overlaps = (firstSeq: number, lastSeq: number) => offered.some((piece) => piece.firstSeq <= lastSeq && firstSeq <= piece.lastSeq);
  for (const scanned of scanFrames(log.context.pool.use(source), source.place, SEGMENT_HEADER_BYTES, source.dataEnd)) {
    if (scanned.kind === 'bad' || scanned.head.kind !== FRAME_DATA || isOffered(scanned.head.firstSeq, scanned.head.lastSeq)) continue;
    const { bytes, at, head } = scanned;
    const start = at + FRAME_HEAD_BYTES;
    const batches = bytes.subarray(start, start + head.payloadBytes);
    if (!overlaps(head.firstSeq, head.lastSeq)) pieces.push({ firstSeq: head.firstSeq, lastSeq: head.lastSeq, batches });
    else pieces.push(...without(batches, head.firstSeq, head.lastSeq, offered));
  }
  return pieces;
}

/** A frame's batches that are not offered. */
function* without(batches: Uint8Array, firstSeq: number, lastSeq: number, offered: readonly Piece[]): Generator<Piece, void, undefined> {
  let next = firstSeq;
  for (let at = 0; at < batches.length; ) {
    const batch = decodeBatchHead(batches, at, batches.length);
    if (batch === undefined) return;
    const end = at + batch.totalBytes;
    const other = offered.find((piece) => piece.firstSeq <= batch.lastSeq && batch.firstSeq <= piece.lastSeq);
    if (other === undefined)
      yield { firstSeq: next, lastSeq: end === batches.length ? lastSeq : batch.lastSeq, batches: batches.subarray(at, end) };
    next = Math.max(batch.lastSeq, other?.lastSeq ?? 0) + 1;
    at = end;
  }
}

/** Throws CORRUPT where they leave seqs out, which is a finding then: who asks again asks for those too. */
function merge(own: readonly Piece[], offered: readonly Piece[], base: number, lastSeq: number, log: ShardLog, file: string): Piece[] {
  const pieces: Piece[] = [];
  const all = [...own, ...offered.filter((piece) => piece.lastSeq >= base && piece.firstSeq <= lastSeq)].sort(
    (a, b) => a.firstSeq - b.firstSeq,
  );
  let next = base;
  for (const piece of all) {
    if (piece.firstSeq !== next || piece.lastSeq > lastSeq) break;
    pieces.push(piece);
    next = piece.lastSeq + 1;
  }
  if (next > lastSeq) return pieces;
  const behind = all.find((piece) => piece.firstSeq > next);
  const toSeq = behind === undefined ? lastSeq : behind.firstSeq - 1;
  const what = `seqs ${next} to ${toSeq} of the same file cannot be read either`;
  log.context.report({ kind: 'damaged', file, offset: 0, fromSeq: next, toSeq, detail: what });
  throw new VarveError('CORRUPT', `${file}: ${what}`, { file, offset: 0, what });
}

async function addSegment(log: ShardLog & SwapLog, segment: Segment): Promise<void> {
  const { files } = log.context.platform;
  files.rename(segment.path + TEMPORARY_SUFFIX, segment.path);
  await files.syncDirectory(log.context.directory);
  log.segmentSet.add(segment);
  log.segmentsReplaced();
}
