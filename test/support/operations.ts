/**
 * Random inserts with what must come of them: each call is made up together with the answer the model
 * expects, from committed plus queued state, as racing clients would meet it.
 *
 * A call may break several rules at once; which of them is named first is the engine's affair, so the
 * expectation is a set of codes.
 */
import stringify from 'fast-json-stable-stringify';
import type { ErrorCode } from '../../engine/errors.js';
import { type InsertItem, type InsertOptions, type JsonValue, type RecordHeader, recordId } from '../../engine/types.js';
import { microsToTime, timeToMicros } from './compare.js';
import type { ModelVersion } from './model.js';
import type { Random } from './random.js';

export interface Entity {
  readonly collection: string;
  readonly key: string;
  readonly shard: number;
}

/** What is known of an entity while calls are in flight. `seq` undefined: its newest version is not acknowledged yet. */
export interface Newest {
  readonly seq: number | undefined;
  readonly alive: boolean;
}

export interface Call {
  readonly items: InsertItem[];
  readonly options: InsertOptions;
  /** The shard of its items, undefined where they lie in several. */
  readonly shard: number | undefined;
  /** Empty: must succeed. */
  readonly mayFailWith: ReadonlySet<ErrorCode>;
  /** The call whose answer this one repeats, when that one succeeds. */
  readonly repeats: Call | undefined;
}

/** What call-making looks at. */
export interface Known {
  readonly random: Random;
  readonly shardCount: number;
  readonly entities: readonly Entity[];
  readonly versions: readonly ModelVersion[];
  /** By `collection/key`; changed as calls are made. */
  readonly newest: Map<string, Newest>;
  /** Calls with an idempotency key, by `shard:key`. */
  readonly keyed: Map<string, Call>;
  /** Shards with calls in flight. */
  readonly busy: ReadonlySet<number>;
  /** Newest acknowledged time of a shard, or undefined. */
  newestTime(shard: number): string | undefined;
  /** Not earlier than anything the system has written by itself. */
  readonly floor: string;
  nowMicros(): number;
  nextToken(): number;
}

export const entityName = (entity: { collection: string; key: string }): string => `${entity.collection}/${entity.key}`;

export function makeCall(known: Known): Call {
  const { random } = known;
  if (known.keyed.size > 0 && random.chance(0.12)) return repeatCall(known);
  const shard = 1 + random.below(known.shardCount);
  const choice = known.entities.filter((entity) => entity.shard === shard);
  if (choice.length === 0) return makeCall(known);
  const count = random.weighted({ 1: 60, 2: 15, 3: 10, 9: 3 } as Record<string, number>);
  const codes = new Set<ErrorCode>();
  const staged = new Map<string, Newest>();
  const items: InsertItem[] = [];
  for (let i = 0; i < Number(count); i++) items.push(makeItem(known, choice, i, staged, codes));
  let callShard: number | undefined = shard;
  if (known.shardCount > 1 && random.chance(0.03)) {
    const other = known.entities.find((entity) => entity.shard !== shard);
    if (other !== undefined) {
      items.push({ collection: other.collection, key: other.key, body: 1 });
      codes.add('CROSS_SHARD');
      callShard = undefined;
    }
  }
  const options: InsertOptions = {};
  if (random.chance(0.12)) giveTime(known, shard, options, codes);
  if (random.chance(0.25)) options.idempotencyKey = `key-${known.nextToken()}`;
  const call: Call = { items, options, shard: callShard, mayFailWith: codes, repeats: undefined };
  if (codes.size === 0) {
    for (const [name, newest] of staged) known.newest.set(name, newest);
    if (options.idempotencyKey !== undefined) known.keyed.set(`${shard}:${options.idempotencyKey}`, call);
  }
  return call;
}

/** An idempotency key again: mostly with the same content, else with other content. */
function repeatCall(known: Known): Call {
  const earlier = known.random.pick([...known.keyed.values()]);
  if (known.random.chance(0.7)) return { ...earlier, repeats: earlier };
  const items = [...earlier.items, { collection: entityOf(earlier).collection, key: entityOf(earlier).key, body: 'other content' }];
  return { ...earlier, items, mayFailWith: new Set<ErrorCode>(['IDEMPOTENCY_MISMATCH']), repeats: undefined };
}

function entityOf(call: Call): InsertItem {
  const item = call.items[0];
  if (item === undefined) throw new Error('a call has items');
  return item;
}

function makeItem(known: Known, choice: readonly Entity[], index: number, staged: Map<string, Newest>, codes: Set<ErrorCode>): InsertItem {
  const { random } = known;
  const entity = random.pick(choice);
  const name = entityName(entity);
  const before = staged.get(name) ?? known.newest.get(name);
  const alive = before?.alive === true;
  const item: InsertItem = { collection: entity.collection, key: entity.key };
  if (random.chance(alive ? 0.2 : 0.02)) {
    item.deleted = true;
    if (!alive) codes.add('NOTHING_TO_DELETE');
  } else {
    item.body = makeBody(random, known.nextToken());
  }
  if (random.chance(0.25)) giveExpectation(known, entity, before, item, codes);
  if (random.chance(0.25)) giveRefs(known, entity.shard, index, item, codes);
  staged.set(name, { seq: undefined, alive: item.deleted !== true });
  return item;
}

function giveExpectation(known: Known, entity: Entity, before: Newest | undefined, item: InsertItem, codes: Set<ErrorCode>): void {
  const { random } = known;
  const alive = before?.alive === true;
  const other = recordId(entity.shard, 1 + random.below(500));
  const current = before?.seq === undefined ? undefined : recordId(entity.shard, before.seq);
  switch (random.weighted({ none: 20, any: 20, current: 50, wrong: 20, several: 10 })) {
    case 'none':
      item.expect = null;
      if (alive) codes.add('CONFLICT');
      return;
    case 'any':
      item.expect = '*';
      if (!alive) codes.add('CONFLICT');
      return;
    case 'current':
      // Whether a tombstone's id may be expected is left open: only asked of the living.
      if (current !== undefined && alive) item.expect = current;
      return;
    case 'several':
      if (current !== undefined && alive) item.expect = [other, current];
      return;
    default:
      if (other === current || (before !== undefined && before.seq === undefined)) return;
      item.expect = other;
      codes.add('CONFLICT');
  }
}

function giveRefs(known: Known, shard: number, index: number, item: InsertItem, codes: Set<ErrorCode>): void {
  const { random } = known;
  const refs: string[] = [];
  for (let n = random.below(3); n >= 0; n--) {
    const version = known.versions.length > 0 ? random.pick(known.versions) : undefined;
    switch (random.weighted({ known: 60, earlier: 30, later: 3, unknown: 3 })) {
      case 'known':
        if (version === undefined) break;
        if (version.shard !== shard && random.chance(0.9)) break;
        refs.push(recordId(version.shard, version.seq));
        if (version.shard !== shard) codes.add('BAD_REF');
        break;
      case 'earlier':
        if (index > 0) refs.push(`#${random.below(index)}`);
        break;
      case 'later':
        refs.push(`#${index + random.below(2)}`);
        codes.add('BAD_REF');
        break;
      default:
        refs.push(recordId(shard, 2 ** 40 + random.below(1000)));
        codes.add('BAD_REF');
    }
  }
  if (refs.length > 0) item.refs = refs;
}

/** A client's own time. Only where the shard is quiet: else nobody knows the newest time. */
function giveTime(known: Known, shard: number, options: InsertOptions, codes: Set<ErrorCode>): void {
  const { random } = known;
  const newest = known.newestTime(shard);
  const now = known.nowMicros();
  const low = timeToMicros(newest ?? known.floor);
  if (known.busy.has(shard) || low + 1000 >= now) return;
  switch (random.weighted({ good: 70, behind: 15, ahead: 15 })) {
    case 'good':
      options.time = microsToTime(low + 1 + random.below(Math.min(now - low - 1, 2 ** 31)));
      return;
    case 'behind':
      if (newest === undefined) return;
      options.time = microsToTime(low - random.below(3));
      codes.add('TIME_BEHIND');
      return;
    default:
      options.time = microsToTime(now + 3_600_000_000);
      codes.add('TIME_AHEAD');
  }
}

/** Any JSON, small mostly; `token` makes most of them differ. */
export function makeBody(random: Random, token: number): JsonValue {
  switch (random.below(8)) {
    case 0:
      return null;
    case 1:
      return random.pick([true, false, 0, -1.5, 1e21, 'text', '', 'é𝄞\u0000"\\', []]);
    case 2:
      return { token, pad: 'p'.repeat(random.below(3000)) };
    case 3:
      return [token, { z: 1, a: [null, { é: 'ü', e: token }] }];
    default:
      return { token, name: `n${random.below(10)}`, nested: { b: random.below(100), a: 'x' } };
  }
}

/** What a call that went through has added, as models keep it. `newestOf`: of an entity before this batch. */
export function versionsOf(
  call: Call,
  records: readonly RecordHeader[],
  newestOf: (item: InsertItem) => ModelVersion | undefined,
): ModelVersion[] {
  const { seq = 0, time = '' } = records[0] ?? {};
  const batch: ModelVersion[] = [];
  for (const [i, item] of call.items.entries()) {
    // Earlier items of the same batch are versions before, too.
    const earlier = batch.findLast((version) => version.collection === item.collection && version.key === item.key);
    const { shard } = records[i] as RecordHeader;
    batch.push({
      shard,
      seq: seq + i,
      time,
      batchEnd: seq + records.length - 1,
      collection: item.collection,
      key: item.key,
      supersedes: (earlier ?? newestOf(item))?.seq ?? 0,
      refs: (item.refs ?? []).map((ref) => (ref.startsWith('#') ? recordId(shard, seq + Number(ref.slice(1))) : ref)),
      deleted: item.deleted === true,
      body: item.deleted === true ? '' : stringify(item.body),
    });
  }
  return batch;
}
