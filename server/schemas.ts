/**
 * The one set of zod schemas: what requests may say (query parameters and envelopes, unknown names refused) and what answers look
 * like (their types; tests check real answers against them). Query schemas take strings, as a URL gives them.
 */
import { z } from 'zod';

export const DEFAULT_LIMIT = 100;
export const MAX_LIMIT = 1000;

// --- values

export const recordIdText = z.string().regex(/^[0-9a-f]{16}$/, 'a record id: 16 lowercase hex digits');
export const timeText = z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/, 'an RFC 3339 time in UTC with microseconds');
const hashText = z.string().regex(/^[0-9a-f]{64}$/, 'a hash: 64 lowercase hex digits');
const count = z.number().int().nonnegative();

/** A `+` of an RFC 3339 offset arrives from a query as a space unless it was escaped; a point never has one of its own. */
const point = z
  .string()
  .min(1)
  .max(64)
  .transform((text) => text.replace(/ (?=\d\d:\d\d$)/, '+'));
const limit = z
  .string()
  .regex(/^\d{1,6}$/, `a number from 1 to ${MAX_LIMIT}`)
  .transform(Number)
  .pipe(z.number().int().min(1).max(MAX_LIMIT))
  .default(DEFAULT_LIMIT);
const cursor = z.string().min(1).max(12_288).optional();
const acks = z.enum(['local', 'quorum']).default('local');
const flag = z.enum(['', 'true', '1', 'false', '0']).transform((text) => text === '' || text === 'true' || text === '1');
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
  );

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
export const rootQuery = z.strictObject({ seq: seqText.optional() });
export const changesQuery = z.strictObject({
  shard: z
    .string()
    .regex(/^[1-9]\d{0,4}$/, 'a shard number from 1')
    .transform(Number)
    .optional(),
  collection: z.string().max(64).optional(),
  after: z.string().min(1).max(2048).optional(),
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

const expect = z.union([recordIdText, z.null()]);
const refs = z.array(z.string().max(64)).max(65_535);
const item = {
  collection: z.string(),
  key: z.string(),
  body: z.unknown().optional(),
  deleted: z.literal(true).optional(),
  refs: refs.optional(),
  expect: expect.optional(),
};

/** `body` may be null, so its presence is what counts. */
function oneOfBodyAndDeleted(value: object, issues: z.core.ParsePayload<object>): void {
  if ('body' in value === 'deleted' in value) {
    issues.issues.push({ code: 'custom', input: value, path: ['body'], message: 'either a body or "deleted": true' });
  }
}

export const batchItem = z.strictObject(item).check((payload) => oneOfBodyAndDeleted(payload.value, payload));
export const batchEnvelope = z.strictObject({ time: z.string().max(64).optional(), records: z.array(batchItem).min(1) });
export const lineEnvelope = z
  .strictObject({ ...item, time: z.string().max(64).optional(), idempotencyKey: z.string().max(255).optional() })
  .check((payload) => oneOfBodyAndDeleted(payload.value, payload));
export const placementEnvelope = z.strictObject({
  placement: z.string().regex(/^(key|group:[A-Za-z][A-Za-z0-9_-]{0,63})$/, '"key" or "group:<name>"'),
});

export type BatchItem = z.infer<typeof batchItem>;
export type LineEnvelope = z.infer<typeof lineEnvelope>;

// --- answers

export const recordHeader = z.strictObject({
  id: recordIdText,
  shard: z.number().int().positive(),
  seq: z.number().int().positive(),
  time: timeText,
  collection: z.string(),
  key: z.string(),
  supersedes: recordIdText.nullable(),
  refs: z.array(recordIdText),
  deleted: z.boolean(),
  hash: hashText,
});
/** A tombstone has no body. */
export const record = recordHeader.extend({ body: z.unknown().optional() });
export const keyAndId = z.strictObject({ id: recordIdText, key: z.string() });
const next = z.string().nullable();

export const batchAnswer = z.strictObject({ records: z.array(recordHeader) });
export const historyAnswer = z.strictObject({ records: z.array(record), next, complete: z.boolean() });
export const listAnswer = z.strictObject({ records: z.array(z.union([record, keyAndId])), next });
export const collectionAnswer = z.strictObject({ name: z.string(), placement: z.string(), entities: count, versions: count });
export const collectionsAnswer = z.strictObject({ collections: z.array(collectionAnswer) });
export const shardAnswer = z.strictObject({
  shard: z.number().int().positive(),
  role: z.string(),
  state: z.enum(['open', 'read-only', 'damaged']),
  epoch: count,
  firstSeq: count,
  lastSeq: count,
  durableSeq: count,
  checkpoint: z.strictObject({ seq: count, root: hashText }).nullable(),
  liveBytes: count,
  deadBytes: count,
  followers: z.array(z.strictObject({ url: z.string(), ackedSeq: count, lagSeconds: z.number() })),
});
export const shardsAnswer = z.strictObject({ shards: z.array(shardAnswer) });
export const rootAnswer = z.strictObject({ shard: z.number().int().positive(), seq: count, root: hashText, entries: count });
/** A record of the feed; `cursor` is where to go on after it. */
export const changeLine = z
  .union([
    record.extend({ cursor: z.string() }),
    z.strictObject({ done: z.literal(true), count, more: z.boolean(), cursor: z.string() }),
    z.strictObject({ closing: z.literal(true), retryAfterMs: count, cursor: z.string() }),
    z.strictObject({ cursor: z.string() }),
  ])
  .meta({ id: 'ChangeLine' });
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
export const problemAnswer = z.looseObject({
  type: z.string().regex(/^urn:varve:[a-z-]+$/),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
});

export type CollectionAnswer = z.infer<typeof collectionAnswer>;
export type ShardAnswer = z.infer<typeof shardAnswer>;
export type DiffAnswer = z.infer<typeof diffAnswer>;
export type RootAnswer = z.infer<typeof rootAnswer>;
