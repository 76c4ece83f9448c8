/**
 * Asks a copy for a range of a shard's log, and holds what comes against what was asked for: whether its history has the range, and its
 * messages are whole. Bytes from a stranger: the engine checks what is in them.
 */
import { type LogSlice, type ReplicaShard, recordSeedOf } from '../engine/copying.js';
import { isSeq } from './checks.js';
import { readEpochs } from './history.js';
import { MessageDecoder } from './message.js';
import { askJson, isRecord } from './peer-json.js';
import type { PeerPlace } from './peer-tree.js';
import { PeerError } from './transport.js';

/** Of one range, in memory. */
const MAX_BYTES = 256 * 1024 * 1024;
const TIMEOUT_MS = 10_000;
/** A stream lives on its heartbeats; a range has to come. */
const IDLE_MS = 30_000;

/** Throws PeerError unless the donor's own history has all of the range that ours has, and it has it durably. */
export async function mustHold(peer: PeerPlace, shard: ReplicaShard, fromSeq: number, toSeq: number, signal: AbortSignal): Promise<void> {
  const path = `/replication/v1/shards/${peer.shard}/state`;
  const { status, headers, json } = await askJson(peer.transport, peer.url, { method: 'GET', path, timeoutMs: TIMEOUT_MS, signal });
  if (status !== 200 || !isRecord(json)) throw new PeerError(peer.url, `it does not tell its state: ${status}`, status >= 500);
  if (headers['varve-database'] !== peer.databaseId) throw new PeerError(peer.url, 'it holds another database', false);
  const theirs = readEpochs(json['epochs']);
  const { durableSeq, firstSeq } = json;
  if (theirs === undefined || !isSeq(durableSeq) || !isSeq(firstSeq)) throw new PeerError(peer.url, 'its state is malformed', false);
  if (durableSeq < toSeq) throw new PeerError(peer.url, `it has come to seq ${durableSeq} only`, true);
  if (firstSeq > fromSeq) throw new PeerError(peer.url, `its log begins at seq ${firstSeq}`, false);
  for (const { epoch, firstSeq: first, lastSeq: last } of shard.epochs()) {
    if (last < fromSeq || first > toSeq) continue;
    const span = theirs.find((each) => each.epoch === epoch);
    if (span === undefined || span.lastSeq < Math.min(last, toSeq) || span.firstSeq > Math.max(first, fromSeq))
      throw new PeerError(peer.url, `its epoch ${epoch} is not ours`, false);
  }
}

/** The slices that cover the range. Throws PeerError, BadMessage. */
export async function askRange(
  peer: PeerPlace,
  shard: ReplicaShard,
  fromSeq: number,
  toSeq: number,
  signal: AbortSignal,
): Promise<LogSlice[]> {
  // Between two epochs are seqs that nobody has: what comes before the first of one is the last of another.
  const before = shard.epochs().findLast((span) => span.firstSeq < fromSeq);
  const after = Math.min(fromSeq - 1, before?.lastSeq ?? 0);
  const hangUp = new AbortController();
  const { status, headers, body } = await peer.transport.request(peer.url, {
    method: 'GET',
    path: `/replication/v1/shards/${peer.shard}/log?after=${after}&epoch=${after === 0 ? 0 : before!.epoch}&until=${toSeq}`,
    timeoutMs: TIMEOUT_MS,
    stream: true,
    signal: AbortSignal.any([signal, hangUp.signal]),
  });
  try {
    if (headers['varve-database'] !== peer.databaseId) throw new PeerError(peer.url, 'it holds another database', false);
    if (status !== 200) throw new PeerError(peer.url, `it does not give its log: ${status}`, status >= 500);
    return await readRange(peer, body, toSeq, hangUp);
  } finally {
    hangUp.abort();
  }
}

async function readRange(peer: PeerPlace, body: AsyncIterable<Uint8Array>, toSeq: number, hangUp: AbortController): Promise<LogSlice[]> {
  const hangUpLater = () => peer.clock.after(IDLE_MS, () => hangUp.abort());
  let cancel = hangUpLater();
  const wait = (): void => {
    cancel();
    cancel = hangUpLater();
  };
  try {
    return await slicesUntil(peer, body, toSeq, wait);
  } catch (error) {
    throw hangUp.signal.aborted ? new PeerError(peer.url, `it gave nothing of the range for ${IDLE_MS} ms`, true) : error;
  } finally {
    cancel();
  }
}

async function slicesUntil(peer: PeerPlace, body: AsyncIterable<Uint8Array>, toSeq: number, came: () => void): Promise<LogSlice[]> {
  const decoder = new MessageDecoder(recordSeedOf(peer.databaseId, peer.shard));
  const slices: LogSlice[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new PeerError(peer.url, `it sends more than ${MAX_BYTES} bytes`, false);
    decoder.push(chunk);
    for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
      if (message.kind === 'goodbye') throw new PeerError(peer.url, 'it closes', true);
      if (message.kind !== 'batches') continue;
      came();
      slices.push({ ...message, batches: Uint8Array.from(message.batches) });
      if (message.lastSeq >= toSeq) return slices;
    }
  }
  throw new PeerError(peer.url, `its stream ends before seq ${toSeq}`, true);
}
