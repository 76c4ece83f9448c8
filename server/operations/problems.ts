/**
 * Each kind of problem as a schema: what stands beside type, title, status and detail. Kinds without a line here have nothing more.
 * Optional are those that depend on where the problem arose.
 */
import { z } from 'zod';
import { KINDS, type Slug } from '../problem.js';
import { count, readyCheck, recordHeader, recordIdText, timeText } from '../schemas.js';

const strings = z.array(z.string());
const readiness = { reasons: strings.optional(), checks: z.array(readyCheck).optional() };
const shard = { shard: z.number().int().positive() };

/** What each node of the replica set answered to a candidate. */
const votes = {
  ...shard,
  epoch: count.meta({ description: 'The epoch that was asked for.' }),
  answers: z.array(
    z.strictObject({
      url: z.string(),
      promised: z.boolean(),
      epoch: count.optional().meta({ description: 'The highest that it has promised or seen.' }),
      position: z.tuple([count, count]).optional().meta({ description: 'How far its log goes: epoch, seq.' }),
      caughtUp: z.boolean().optional(),
      error: z.string().optional().meta({ description: 'Why there is no answer of it.' }),
    }),
  ),
};

/** Where a question has two points in time: the one that has no answer. */
const parameter = z.string().optional().meta({ description: 'The query parameter that asked for it.', example: 'from' });

const FIELDS: Partial<Record<Slug, z.ZodRawShape>> = {
  invalid: {
    path: z.string().meta({ description: 'The place in the request.', example: 'records[3].key' }),
    expected: z.string().meta({ description: 'What would do there.' }),
  },
  'unknown-parameter': { parameters: strings },
  'unknown-field': { fields: strings },
  'time-ahead': { now: timeText },
  unauthorized: { needs: z.looseObject({ role: z.string().optional() }) },
  forbidden: { needs: z.looseObject({ role: z.string().optional() }) },
  'system-collection': { collection: z.string() },
  'not-found': {
    collection: z.string().optional(),
    key: z.string().optional(),
    id: z.string().optional(),
    name: z.string().optional(),
    parameter,
  },
  'nothing-to-delete': { collection: z.string(), key: z.string() },
  'method-not-allowed': { allow: strings },
  'not-acceptable': { available: strings },
  'time-behind': { newest: timeText.meta({ description: 'The newest time of the shard.' }) },
  'snapshot-exists': { name: z.string(), asOf: z.string() },
  'no-majority': votes,
  'candidate-behind': {
    ...votes,
    ahead: z
      .strictObject({ url: z.string(), position: z.tuple([count, count]) })
      .optional()
      .meta({ description: 'Who has more; promote that one.' }),
  },
  'copies-differ': {
    error: z.enum(['diverged', 'passed', 'behind', 'not-owner']).meta({ description: 'Why.' }),
    epochs: z
      .array(z.tuple([count, count, count]))
      .optional()
      .meta({ description: 'The history of this node.' }),
    seq: count.optional(),
  },
  'log-too-old': { error: z.literal('bootstrap'), firstSeq: count },
  'placement-fixed': { collection: z.string(), placement: z.string() },
  deleted: { tombstone: recordHeader, parameter },
  trimmed: {
    collection: z.string().optional().meta({ description: 'Not known of a record that is gone itself.' }),
    horizon: recordIdText.meta({ description: 'The first point that is answered exactly.' }),
  },
  erased: { id: recordIdText, parameter },
  'precondition-failed': {
    collection: z.string(),
    key: z.string(),
    current: recordIdText.nullable().meta({ description: 'The version that is there; null: none.' }),
  },
  'too-large': { what: z.string(), limit: count, actual: count.optional() },
  'unsupported-media-type': { supported: strings },
  'cross-shard': {
    shards: z.array(count).optional().meta({ description: 'Those it reaches.' }),
    shardCount: count.optional(),
    limit: count.optional().meta({ description: 'A feed over more shards than this is read one shard at a time.' }),
  },
  'owner-unreachable': shard,
  'not-owner': { ...shard, owner: z.string().nullable(), url: z.string().nullable() },
  behind: { ...shard, seq: count },
  diverged: { ...shard, seq: count },
  'bad-ref': { ref: z.string(), reason: z.enum(['unknown', 'dropped', 'later', 'other-shard']) },
  'idempotency-mismatch': { key: z.string() },
  'too-many-requests': { limit: count.optional() },
  'not-written': shard,
  'outcome-unknown': shard,
  damaged: { ...shard, fromSeq: count, toSeq: count },
  'read-only': readiness,
  overloaded: { retryAfterMs: count.optional(), limit: count.optional() },
  recovering: readiness,
  draining: readiness,
  unavailable: { shard: shard.shard.optional() },
  'acks-timeout': {
    ...shard,
    id: recordIdText.optional().meta({ description: 'The record: durable on the owner.' }),
    ids: z.array(recordIdText).optional().meta({ description: 'Of a batch of several.' }),
  },
};

const made = new Map<Slug, z.ZodType>();

/** The schema of a kind; the same object each time, so that the description refers to it by name. */
export function problemSchema(slug: Slug): z.ZodType {
  let schema = made.get(slug);
  if (schema === undefined) {
    const { status, title } = KINDS[slug];
    schema = z
      .strictObject({
        type: z.literal(`urn:varve:${slug}`),
        title: z.literal(title),
        status: z.literal(status),
        detail: z.string().meta({ description: 'For people; may change.' }),
        requestId: z.string().optional().meta({ description: 'The request, as the log of the server names it.' }),
        ...FIELDS[slug],
      })
      .meta({ id: `problem-${slug}` });
    made.set(slug, schema);
  }
  return schema;
}
