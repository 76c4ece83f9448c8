/**
 * The part of a node's answers that rests on its logs: states, streams, sealed segments as files, and reports of followers.
 *
 * Invariants: a stream ends when this closes, with a goodbye; nothing is read from the disk before the caller pulls.
 */

import type { Clock, ReplicaShard } from '../engine/copying.js';
import { recordSeedOf } from '../engine/copying.js';
import type { Database } from '../engine/index.js';
import { type AckReport, readAckReport } from './ack-book.js';
import { EPOCH_HEADER, STREAM_TYPE } from './message.js';
import { knownQuery, type PeerHandlers, type PeerParams, PeerRefusal, queryNumber } from './peer-service.js';
import { LogSource, type StreamRequest } from './source.js';
import type { PeerAnswer, PeerCall } from './transport.js';

/** The part of a database that copies are made from. */
export type CopiedDatabase = Pick<Database, 'databaseId' | 'nodeId' | 'shardCount' | 'replica' | 'logFiles' | 'readLogFile'>;

export interface LogServiceOptions {
  readonly db: CopiedDatabase;
  readonly clock: Clock;
  readonly noteAcks: (report: AckReport) => readonly (readonly [shard: number, seq: number])[];
  readonly quorumSeq: (shard: number) => number;
}

/** Of recent groups, in memory; a shard's share is smaller where there are many. */
const RECENT_BYTES = 8 * 1024 * 1024;
const RECENT_BYTES_ALL = 64 * 1024 * 1024;
const LEAST_RECENT_BYTES = 256 * 1024;
const SLICE_BYTES = 256 * 1024;
const RANGE = /^bytes=(\d{1,15})-(\d{0,15})$/;

export class LogService {
  readonly #options: LogServiceOptions;
  readonly #sources = new Map<number, LogSource>();
  #closed = false;

  constructor(options: LogServiceOptions) {
    this.#options = options;
  }

  readonly handlers: PeerHandlers = {
    'GET /state': (call) => this.#states(call),
    'GET /shards/:shard/state': (call, params) => this.#state(call, params),
    'GET /shards/:shard/log': (call, params) => this.#log(call, params),
    'GET /segments': (call) => this.#segments(call),
    'GET /shards/:shard/segments/:name': (call, params) => this.#segment(call, params),
    'POST /acks': (call) => this.#acks(call),
  };

  /** The stream of one shard; made when first asked for. */
  source(shard: number): LogSource {
    let source = this.#sources.get(shard);
    if (source === undefined) {
      const { db, clock } = this.#options;
      const share = Math.floor(RECENT_BYTES_ALL / db.shardCount);
      const bytes = Math.max(LEAST_RECENT_BYTES, Math.min(RECENT_BYTES, share));
      source = new LogSource(db.replica(shard), clock, recordSeedOf(db.databaseId, shard), bytes);
      this.#sources.set(shard, source);
    }
    return source;
  }

  /** Says goodbye to all who follow this shard, if any. */
  interrupt(shard: number): void {
    this.#sources.get(shard)?.interrupt();
  }

  close(): void {
    this.#closed = true;
    for (const source of this.#sources.values()) source.close();
  }

  #states(call: PeerCall): PeerAnswer {
    knownQuery(call, []);
    const { db } = this.#options;
    const states = Array.from({ length: db.shardCount }, (_, i) => this.#stateOf(db.replica(i + 1)));
    return { status: 200, json: { node: db.nodeId, database: db.databaseId, shards: db.shardCount, states } };
  }

  #state(call: PeerCall, { shard }: PeerParams): PeerAnswer {
    knownQuery(call, []);
    return { status: 200, json: this.#stateOf(this.#options.db.replica(shard)) };
  }

  #stateOf(shard: ReplicaShard): object {
    const { id, role, epoch, promised, durableSeq, compactedThrough, firstSeq, owner } = shard;
    return {
      shard: id,
      role,
      epoch,
      promised: promised.epoch,
      durableSeq,
      quorumSeq: this.#options.quorumSeq(id),
      compactedThrough,
      firstSeq,
      epochs: shard.epochs().map((span) => [span.epoch, span.firstSeq, span.lastSeq]),
      owner: owner === undefined ? null : { node: owner.node, url: owner.url },
      caughtUp: role !== 'follower' || promised.caughtUp,
    };
  }

  #log(call: PeerCall, { shard }: PeerParams): PeerAnswer {
    knownQuery(call, ['after', 'epoch', 'until']);
    const wanted: { -readonly [K in keyof StreamRequest]: StreamRequest[K] } = {
      after: queryNumber(call, 'after'),
      epoch: queryNumber(call, 'epoch'),
    };
    if (call.query.has('until')) wanted.until = queryNumber(call, 'until');
    if (this.#closed) throw new PeerRefusal(503, 'draining', 'The node is closing.');
    const source = this.source(shard);
    const refusal = source.refusal(wanted);
    if (refusal?.why === 'crowded') throw new PeerRefusal(503, 'overloaded', 'Too many follow this shard.');
    if (refusal?.why === 'bootstrap') {
      throw new PeerRefusal(410, 'bootstrap', 'The log does not reach back so far: begin anew.', { firstSeq: refusal.firstSeq });
    }
    if (refusal?.why === 'diverged') {
      const epochs = refusal.epochs.map((span) => [span.epoch, span.firstSeq, span.lastSeq]);
      throw new PeerRefusal(409, 'diverged', 'The position is not in this history.', { epochs });
    }
    const headers = { 'Content-Type': STREAM_TYPE, [EPOCH_HEADER]: String(this.#options.db.replica(shard).epoch) };
    return { status: 200, headers, stream: source.stream(wanted, call.signal) };
  }

  #acks(call: PeerCall): PeerAnswer {
    knownQuery(call, []);
    const report = readAckReport(call.json, this.#options.db.shardCount);
    if (report === undefined)
      throw new PeerRefusal(400, 'invalid', 'no report of positions', { path: '', expected: 'a report of positions' });
    return { status: 200, json: { quorum: this.#options.noteAcks(report) } };
  }

  #segments(call: PeerCall): PeerAnswer {
    knownQuery(call, []);
    const { db } = this.#options;
    return { status: 200, json: { database: db.databaseId, shards: db.shardCount, segments: db.logFiles() } };
  }

  #segment(call: PeerCall, { shard, name }: PeerParams): PeerAnswer {
    knownQuery(call, []);
    const { db } = this.#options;
    const file = db.logFiles().find((candidate) => candidate.shard === shard && candidate.name === name);
    if (file === undefined) throw new PeerRefusal(404, 'not-found', 'There is no such segment, or compaction has replaced it.');
    const range = readRange(call.headers['range'], file.bytes);
    const headers: Record<string, string> = {
      'Content-Type': 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      'Content-Length': String(range.to - range.from),
    };
    if (range.partial) headers['Content-Range'] = `bytes ${range.from}-${range.to - 1}/${file.bytes}`;
    return { status: range.partial ? 206 : 200, headers, stream: this.#bytesOf(shard, name, range.from, range.to) };
  }

  async *#bytesOf(shard: number, name: string, from: number, to: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let at = from; at < to; ) {
      const bytes = this.#options.db.readLogFile(shard, name, at, Math.min(SLICE_BYTES, to - at));
      // The length was promised: whoever counts notices.
      if (bytes === undefined || bytes.length === 0) throw new Error(`${name} was replaced by compaction while it was sent`);
      at += bytes.length;
      yield bytes;
      await this.#options.clock.yield();
    }
  }
}

function readRange(header: string | undefined, bytes: number): { from: number; to: number; partial: boolean } {
  if (header === undefined) return { from: 0, to: bytes, partial: false };
  const found = RANGE.exec(header);
  const expected = 'one range of bytes with a beginning, such as bytes=0-1023 or bytes=4096-';
  if (found === null) throw new PeerRefusal(400, 'invalid', `Range: expected ${expected}`, { path: 'Range', expected });
  const from = Number(found[1]);
  const to = found[2] === '' ? bytes : Math.min(bytes, Number(found[2]) + 1);
  if (from < to) return { from, to, partial: true };
  throw new PeerRefusal(416, 'range-not-satisfiable', `The segment has ${bytes} bytes.`, { bytes });
}
