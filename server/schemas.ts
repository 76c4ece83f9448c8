/**
 * The one set of zod schemas: what requests may say (query parameters and envelopes, unknown names refused) and what answers look
 * like (their types; tests check real answers against them). Query schemas take strings, as a URL gives them.
 */
import { z } from 'zod';

export const DEFAULT_LIMIT = 100;
export const MAX_LIMIT = 1000;

// --- values

export const recordIdText = z
  .string()
  .regex(/^[0-9a-f]{16}$/, 'a record id: 16 lowercase hex digits')
  .meta({ id: 'RecordId', description: 'A record: shard (4 hex digits) and seq (12).', example: '0001000000000a3f' });
export const timeText = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/, 'an RFC 3339 time in UTC with microseconds')
  .meta({ id: 'Time', description: 'RFC 3339 in UTC with microseconds.', example: '2026-11-21T08:00:00.000000Z' });
export const hashText = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'a hash: 64 lowercase hex digits')
  .meta({ id: 'Hash', description: 'BLAKE3: 32 bytes in hex.' });
export const count = z.number().int().nonnegative();

/** A `+` of an RFC 3339 offset arrives from a query as a space unless it was escaped; a point never has one of its own. */
const point = z
  .string()
  .min(1)
  .max(64)
  .transform((text) => text.replace(/ (?=\d\d:\d\d$)/, '+'))
  .meta({
    id: 'Point',
    description:
      'A point in time: a time (RFC 3339, any offset and precision; every shard), or a record id (its shard, at the end of its batch).',
    example: '2026-11-21T08:00:00Z',
  });
const limit = z
  .string()
  .regex(/^\d{1,6}$/, `a number from 1 to ${MAX_LIMIT}`)
  .transform(Number)
  .pipe(z.number().int().min(1).max(MAX_LIMIT))
  .default(DEFAULT_LIMIT)
  .meta({
    description: 'Records on a page; fewer where their bodies are large.',
    override: ({ jsonSchema }: { jsonSchema: object }) => asInteger(jsonSchema, { minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT }),
  });
const cursor = z
  .string()
  .min(1)
  .max(12_288)
  .optional()
  .meta({ description: '`next` of the page before. The other parameters need not be given again; those that are must be the same.' });
const acks = z.enum(['local', 'quorum']).default('local').meta({
  description: 'When to answer: once durable on the owner (`local`), or on a majority of the replicas (`quorum`).',
});
const flag = z
  .enum(['', 'true', '1', 'false', '0'])
  .transform((text) => text === '' || text === 'true' || text === '1')
  .meta({ description: 'Given without a value it is on.' });
const seqText = z
  .string()
  .regex(/^\d{1,15}$/, 'a seq')
  .transform(Number)
  .pipe(
    z
      .number()
      .int()
      .min(1)
      .max(2 ** 48 - 1),
  )
  .meta({
    description: 'A seq.',
    override: ({ jsonSchema }: { jsonSchema: object }) => asInteger(jsonSchema, { minimum: 1, maximum: 2 ** 48 - 1 }),
  });

/** A number in a URL is text that is read as one; a description says the number. */
function asInteger(jsonSchema: object, rules: Readonly<Record<string, number>>): void {
  for (const name of ['pattern', 'format', 'default']) Reflect.deleteProperty(jsonSchema, name);
  Object.assign(jsonSchema, { type: 'integer', ...rules });
}

// --- query parameters, by route

export const noQuery = z.strictObject({});
export const insertQuery = z.strictObject({ acks });
export const entityQuery = z.strictObject({ asOf: point.optional(), view: z.enum(['record', 'body']).default('record') });
export const historyQuery = z.strictObject({
  order: z.enum(['asc', 'desc']).default('desc'),
  from: point.optional(),
  to: point.optional(),
  limit,
  cursor,
});
export const listQuery = z.strictObject({
  asOf: point.optional(),
  prefix: z.string().max(512).optional(),
  after: z.string().max(512).optional(),
  bodies: z
    .enum(['true', 'false'])
    .default('true')
    .transform((text) => text === 'true'),
  limit,
  cursor,
});
export const entityDiffQuery = z.strictObject({ from: point.optional(), to: point.optional() });
export const rootQuery = z.strictObject({ seq: seqText.optional() });
export const changesQuery = z.strictObject({
  shard: z
    .string()
    .regex(/^[1-9]\d{0,4}$/, 'a shard number from 1')
    .transform(Number)
    .optional(),
  collection: z.string().max(64).optional(),
  after: z.string().min(1).max(2048).optional(),
  partial: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true'),
  live: z
    .enum(['true', 'false'])
    .default('true')
    .transform((text) => text === 'true'),
  /** Without one the feed has no end of its own. */
  limit: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, 'a number from 1')
    .transform(Number)
    .default(Number.MAX_SAFE_INTEGER),
});
export const diffQuery = z.strictObject({
  from: point.optional(),
  to: point.optional(),
  collection: z.string().max(64).optional(),
  limit,
  cursor,
});
export const readyQuery = z.strictObject({ verbose: flag.optional() });

// --- envelopes

const expect = z
  .union([recordIdText, z.null()])
  .meta({ description: 'The version that it must supersede; null: the entity must not exist.' });
const refs = z
  .array(z.string().max(64))
  .max(65_535)
  .meta({ description: 'Earlier records of the shard, by id; in a batch `"#<index>"` names an earlier item.' });
const item = {
  collection: z.string(),
  key: z.string().meta({ description: '1 to 512 bytes of UTF-8 without control characters.' }),
  body: z.unknown().optional().meta({ description: 'Any JSON value. Either this or `deleted`.' }),
  deleted: z.literal(true).optional().meta({ description: 'Ends the entity: a tombstone.' }),
  refs: refs.optional(),
  expect: expect.optional(),
};

/** `body` may be null, so its presence is what counts. */
function oneOfBodyAndDeleted(value: object, issues: z.core.ParsePayload<object>): void {
  if ('body' in value === 'deleted' in value) {
    issues.issues.push({ code: 'custom', input: value, path: ['body'], message: 'either a body or "deleted": true' });
  }
}

const batchTime = z.string().max(64).optional().meta({ description: 'The time of the batch, later than the newest of its shard.' });

export const batchItem = z
  .strictObject(item)
  .check((payload) => oneOfBodyAndDeleted(payload.value, payload))
  .meta({ id: 'BatchItem' });
export const batchEnvelope = z.strictObject({ time: batchTime, records: z.array(batchItem).min(1) }).meta({ id: 'Batch' });
export const lineEnvelope = z
  .strictObject({ ...item, time: batchTime, idempotencyKey: z.string().max(255).optional() })
  .check((payload) => oneOfBodyAndDeleted(payload.value, payload))
  .meta({ id: 'InsertLine' });
export const placementEnvelope = z.strictObject({
  placement: z.string().regex(/^(key|group:[A-Za-z][A-Za-z0-9_-]{0,63})$/, '"key" or "group:<name>"'),
});

export type BatchItem = z.infer<typeof batchItem>;
export type LineEnvelope = z.infer<typeof lineEnvelope>;

// --- answers

export const recordHeader = z
  .strictObject({
    id: recordIdText,
    shard: z.number().int().positive(),
    seq: z.number().int().positive(),
    time: timeText,
    collection: z.string(),
    key: z.string(),
    supersedes: recordIdText.nullable().meta({ description: 'The version before; null for the first.' }),
    refs: z.array(recordIdText),
    deleted: z.boolean().meta({ description: 'A tombstone.' }),
    hash: hashText,
  })
  .meta({ id: 'RecordHeader', description: 'A record without its body.' });
/** A tombstone has no body. */
export const record = recordHeader
  .extend({
    body: z.unknown().optional().meta({ description: 'None in a tombstone, nor where it was erased.' }),
    erased: z.literal(true).optional().meta({ description: 'The body was erased for good.' }),
  })
  .meta({ id: 'Record', description: 'One version of one entity.' });
export const keyAndId = z.strictObject({ id: recordIdText, key: z.string() }).meta({ id: 'KeyAndId' });
const next = z.string().nullable().meta({ description: 'The cursor of the next page; null at the end.' });

export const batchAnswer = z.strictObject({ records: z.array(recordHeader) });
export const historyAnswer = z.strictObject({ records: z.array(record), next, complete: z.boolean() });
export const listAnswer = z.strictObject({ records: z.array(z.union([record, keyAndId])), next });
const done = z.literal(true);
export const listLine = z.union([record, keyAndId, z.strictObject({ done, count })]).meta({ id: 'ListLine' });
export const collectionAnswer = z
  .strictObject({
    name: z.string(),
    placement: z.string(),
    entities: count.meta({ description: 'Alive now.' }),
    versions: count,
  })
  .meta({ id: 'Collection' });
export const collectionsAnswer = z.strictObject({ collections: z.array(collectionAnswer) });
export const shardAnswer = z
  .strictObject({
    shard: z.number().int().positive(),
    role: z
      .enum(['owner', 'follower', 'fenced'])
      .meta({ description: 'Writes go to the owner; fenced: nobody writes here until it is known whom to follow.' }),
    state: z.enum(['open', 'read-only', 'damaged']),
    epoch: count,
    firstSeq: count,
    lastSeq: count,
    durableSeq: count,
    checkpoint: z.strictObject({ seq: count, root: hashText }).nullable(),
    liveBytes: count,
    deadBytes: count,
    owner: z
      .strictObject({ node: z.string(), url: z.string() })
      .nullable()
      .meta({ description: 'As the newest epoch names it; null in the first one.' }),
    quorumSeq: count.meta({ description: 'What a majority of the replica set has made durable, as far as is known here.' }),
    lagSeconds: z.number().meta({ description: 'Of a follower: since it last had all that its source had.' }),
    followers: z.array(
      z.strictObject({
        url: z.string(),
        ackedSeq: count,
        lagSeconds: z.number(),
        breaker: z.enum(['closed', 'half-open', 'open']).meta({ description: 'Whether calls to it are let through.' }),
        lastError: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'Shard' });
export const promotionEnvelope = z.strictObject({
  force: z.boolean().optional().meta({ description: 'Without a majority, and whatever others have that this copy has not.' }),
});
export const shardsAnswer = z.strictObject({ shards: z.array(shardAnswer) });
export const rootAnswer = z
  .strictObject({ shard: z.number().int().positive(), seq: count, root: hashText, entries: count })
  .meta({ id: 'Root' });
/** A record of the feed; `cursor` is where to go on after it. */
export const changeLine = z
  .union([
    record.extend({ cursor: z.string() }),
    z.strictObject({ done: z.literal(true), count, more: z.boolean(), cursor: z.string() }),
    z.strictObject({ closing: z.literal(true), retryAfterMs: count, cursor: z.string() }),
    z.strictObject({ cursor: z.string() }),
  ])
  .meta({ id: 'ChangeLine' });
/** The data of an event of the feed; the cursor is its id. */
export const changeEvent = z
  .union([record, z.strictObject({ count, more: z.boolean() }), z.strictObject({ retryAfterMs: count })])
  .meta({ id: 'ChangeEvent' });
const difference = z
  .strictObject({ collection: z.string(), key: z.string(), from: recordIdText.nullable(), to: recordIdText.nullable() })
  .meta({ id: 'Difference', description: 'An entity that is another at one point: the version alive there, or null.' });
export const diffAnswer = z.strictObject({ differences: z.array(difference), next }).meta({ id: 'Diff' });
export const diffLine = z.union([difference, z.strictObject({ done: z.literal(true), count })]).meta({ id: 'DiffLine' });
export const proofAnswer = z
  .strictObject({
    record,
    salt: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    bodyHash: hashText.optional(),
    path: z.array(z.base64()).min(1).meta({ description: 'The hashed bytes of the nodes from the leaf to the root.' }),
    seq: z.number().int().positive().meta({ description: 'What the root covers: everything up to this seq of the shard.' }),
    root: hashText,
  })
  .meta({ id: 'Proof' });
export const problemAnswer = z
  .looseObject({
    type: z.string().regex(/^urn:varve:[a-z-]+$/),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
  })
  .meta({ id: 'Problem', description: 'What went wrong (RFC 9457). `type` is stable; the other fields depend on it.' });
export const insertLineAnswer = z
  .union([
    z.strictObject({ line: count, id: recordIdText, replayed: done.optional() }),
    z.strictObject({ line: count, error: problemAnswer }),
    z.strictObject({ done, inserted: count, failed: count }),
  ])
  .meta({ id: 'InsertLineAnswer' });

export const liveAnswer = z.strictObject({ status: z.literal('alive') });
export const readyCheck = z.strictObject({
  name: z.string().meta({ description: '`phase`, `shard <n>`, or `upkeep` while compaction or an erasure fails.' }),
  state: z.string(),
  ok: z.boolean().meta({ description: 'False: this keeps the server from being ready.' }),
  reason: z.string().optional(),
});
export const readyAnswer = z.strictObject({ status: z.literal('ready'), checks: z.array(readyCheck).optional() }).meta({ id: 'Readiness' });
export const pointerAnswer = z.looseObject({ name: z.literal('varve'), api: z.string() });

export type CollectionAnswer = z.infer<typeof collectionAnswer>;
export type ShardAnswer = z.infer<typeof shardAnswer>;
export type DiffAnswer = z.infer<typeof diffAnswer>;
export type RootAnswer = z.infer<typeof rootAnswer>;
export type ReadyCheck = z.infer<typeof readyCheck>;
