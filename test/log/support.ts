/** What the tests of the log share: machines, groups to append, and a ledger that knows what must be there. */
import { expect } from 'vitest';
import { isGap, type LogOptions, type NewRecord, type ShardLog, type StoredBatch, type StoredRecord } from '../../engine/log/index.js';
import type { Platform } from '../../engine/platform/platform.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';

export const DIRECTORY = 'shards/0001/log';
export const DATABASE_ID = Uint8Array.from({ length: 16 }, (_, i) => i * 3 + 1);
/** Later than the simulation begins, as times of a server are. */
export const FIRST_TIME = 1_800_000_000_000_000;

export function logOptions(platform: Platform, changes: Partial<LogOptions> = {}): LogOptions {
  return { platform, directory: DIRECTORY, shard: 1, databaseId: DATABASE_ID, segmentBytes: 1500, indexIntervalBytes: 256, ...changes };
}

/** A record that is a function of its seq: sizes vary, some are tombstones, some have refs. */
export function recordFor(seq: number, bodyBytes = (seq * 37) % 120): NewRecord {
  const tombstone = seq % 7 === 0;
  return {
    kind: tombstone ? 2 : 1,
    supersedes: seq > 3 && seq % 2 === 0 ? seq - 2 : 0,
    refs: seq > 5 && seq % 5 === 0 ? [seq - 1, seq - 4] : [],
    collection: Buffer.from(seq % 2 === 0 ? 'customers' : 'orders'),
    key: Buffer.from(`key-${seq % 11}`),
    body: tombstone ? Buffer.alloc(0) : Buffer.from(JSON.stringify({ n: seq, text: 'x'.repeat(bodyBytes) })),
    salt: tombstone ? Buffer.alloc(0) : Buffer.from(new SeededRandom(seq).bytes(16)),
  };
}

export interface Attempt {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly time: number;
  readonly isEvent: boolean;
  readonly bodyBytes: number | undefined;
  readonly key: string | undefined;
}

/** What was attempted, and how far it was acknowledged. */
export class Ledger {
  readonly attempts: Attempt[] = [];
  acknowledged = 0;

  get lastSeq(): number {
    return this.attempts.at(-1)?.lastSeq ?? 0;
  }

  /** Appends one group: a batch for each size, 0 for a checkpoint event. */
  async append(log: ShardLog, sizes: readonly number[], bodyBytes?: number): Promise<void> {
    const group = log.beginGroup();
    for (const size of sizes) {
      const firstSeq = this.lastSeq + 1;
      const time = FIRST_TIME + firstSeq * 10;
      const isEvent = size === 0;
      const lastSeq = isEvent ? firstSeq : firstSeq + size - 1;
      const key = firstSeq % 3 === 0 && !isEvent ? `request-${firstSeq}` : undefined;
      if (isEvent) {
        group.addEvent({
          seq: firstSeq,
          time,
          event: {
            type: 'checkpoint',
            throughSeq: firstSeq - 1,
            entries: firstSeq,
            root: Buffer.alloc(32, firstSeq),
            previous: Buffer.alloc(32),
          },
        });
      } else {
        const records = Array.from({ length: size }, (_, i) => recordFor(firstSeq + i, bodyBytes));
        group.addBatch({
          firstSeq,
          time,
          records,
          ...(key === undefined ? {} : { idempotency: { key, contentHash: Buffer.alloc(16, firstSeq) } }),
        });
      }
      this.attempts.push({ firstSeq, lastSeq, time, isEvent, bodyBytes, key });
    }
    await log.append(group);
    this.acknowledged = this.lastSeq;
  }

  copy(): Ledger {
    const ledger = new Ledger();
    ledger.attempts.push(...this.attempts);
    ledger.acknowledged = this.acknowledged;
    return ledger;
  }

  /** Forgets attempts beyond what a log that recovered has. */
  cutTo(seq: number): void {
    while (this.lastSeq > seq) this.attempts.pop();
    this.acknowledged = seq;
  }

  /** Everything acknowledged is there byte for byte; what is there is a prefix of what was attempted, in whole batches. */
  check(log: ShardLog): void {
    expect(log.durableSeq).toBeGreaterThanOrEqual(this.acknowledged);
    expect([0, ...this.attempts.map((attempt) => attempt.lastSeq)]).toContain(log.durableSeq);
    const there = this.attempts.filter((attempt) => attempt.lastSeq <= log.durableSeq);
    expect([...log.batches(1)].map(show)).toEqual(there.map(expected));
    for (const attempt of there) this.#checkAttempt(log, attempt);
    expect(log.read(log.durableSeq + 1)).toBeUndefined();
    expect(log.lastTime).toBe(there.filter((attempt) => !attempt.isEvent).at(-1)?.time ?? 0);
  }

  #checkAttempt(log: ShardLog, attempt: Attempt): void {
    const { firstSeq, lastSeq, time, isEvent, key } = attempt;
    for (let seq = firstSeq; seq <= lastSeq; seq++) {
      const record = log.read(seq);
      expect(record && showRecord(record)).toEqual(isEvent ? undefined : expectedRecord(attempt, seq));
      expect(log.readBatchEnd(seq)).toBe(isEvent ? undefined : lastSeq);
    }
    if (isEvent) return;
    expect(log.positionAt(time)).toBe(lastSeq);
    if (key !== undefined) {
      expect(log.findIdempotent(key, 0)).toMatchObject({ firstSeq, lastSeq, time });
      expect(log.findIdempotent(key, time + 1)).toBeUndefined();
    }
  }
}

/** A batch in a form that compares and prints well. */
export function show(item: StoredBatch | { gap: { fromSeq: number; toSeq: number } }): unknown {
  if (isGap(item)) return { gap: item.gap };
  const { firstSeq, lastSeq, time, idempotency, records, event } = item;
  return {
    firstSeq,
    lastSeq,
    time,
    key: idempotency?.key,
    records: records.map(showRecord),
    event: event?.type === 'checkpoint' ? `${event.type} ${event.throughSeq} ${event.entries}` : event?.type,
  };
}

export function showRecord(record: StoredRecord): unknown {
  const { kind, seq, time, batchEndSeq, supersedes, refs, collection, key, body, salt, bodyHash } = record;
  return {
    kind,
    seq,
    time,
    batchEndSeq,
    supersedes,
    refs: [...refs],
    entity: `${text(collection)}/${text(key)}`,
    body: text(body),
    salt: Buffer.from(salt).toString('hex'),
    bodyHash,
  };
}

function expected(attempt: Attempt): unknown {
  const { firstSeq, lastSeq, time, isEvent, key } = attempt;
  const seqs = isEvent ? [] : Array.from({ length: lastSeq - firstSeq + 1 }, (_, i) => firstSeq + i);
  const records = seqs.map((seq) => expectedRecord(attempt, seq));
  return { firstSeq, lastSeq, time, key, records, event: isEvent ? `checkpoint ${firstSeq - 1} ${firstSeq}` : undefined };
}

function expectedRecord(attempt: Attempt, seq: number): unknown {
  const record = attempt.bodyBytes === undefined ? recordFor(seq) : recordFor(seq, attempt.bodyBytes);
  return showRecord({ ...record, seq, time: attempt.time, batchEndSeq: attempt.lastSeq, bodyHash: undefined });
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
