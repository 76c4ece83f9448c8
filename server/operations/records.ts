/** The description of inserts of many, and of collections. */
import { JSON_TYPE, NDJSON_TYPE } from '../answers.js';
import {
  batchAnswer,
  batchEnvelope,
  collectionAnswer,
  collectionsAnswer,
  insertLineAnswer,
  insertQuery,
  lineEnvelope,
  noQuery,
  placementEnvelope,
} from '../schemas.js';
import { HEADER_EXAMPLE } from './examples.js';
import { type Descriptions, OF_INSERTS, OF_PASSED_ON } from './operation.js';

const ITEM = { collection: 'customers', key: 'alice', body: { name: 'Alice' } };
const COLLECTION = { name: 'customers', placement: 'key', entities: 1, versions: 2 };

export const recordDescriptions: Descriptions = {
  'POST /v1/records': {
    id: 'postRecords',
    tag: 'Insert',
    summary: 'Insert many records',
    text:
      'As JSON one batch: all or nothing, in one shard; later items may name earlier ones in `refs` as `"#<index>"`. As NDJSON a stream of any length, ' +
      'each line a batch of its own, answered in order as each becomes durable; a bad line is reported and skipped.',
    query: insertQuery,
    headers: ['Idempotency-Key'],
    body: {
      description: 'A batch, or a stream of items.',
      content: {
        [JSON_TYPE]: {
          schema: batchEnvelope,
          example: { records: [ITEM, { collection: 'customers', key: 'bob', body: null, refs: ['#0'] }] },
        },
        [NDJSON_TYPE]: {
          line: lineEnvelope,
          description: 'One item a line.',
          example: `${JSON.stringify({ ...ITEM, idempotencyKey: 'row-1' })}\n`,
        },
      },
    },
    answers: {
      200: {
        description: 'To a stream: an answer a line, and a last line that counts them. Without it the stream was cut short.',
        content: { [NDJSON_TYPE]: { line: insertLineAnswer } },
      },
      201: {
        description: 'To a batch: its records without bodies, in order.',
        content: { [JSON_TYPE]: { schema: batchAnswer, example: { records: [HEADER_EXAMPLE] } } },
        headers: ['Idempotent-Replay?'],
      },
    },
    problems: [...OF_INSERTS, 'unknown-field', 'cross-shard', 'nothing-to-delete'],
  },
};

export const collectionDescriptions: Descriptions = {
  'GET /v1/collections': {
    id: 'listCollections',
    tag: 'Select',
    summary: 'Collections, with their counts',
    text: 'Those the token may use; system collections are among them for tokens without a limit.',
    query: noQuery,
    answers: {
      200: { description: 'All of them.', content: { [JSON_TYPE]: { schema: collectionsAnswer, example: { collections: [COLLECTION] } } } },
    },
    problems: [],
  },
  'GET /v1/collections/:collection': {
    id: 'getCollection',
    tag: 'Select',
    summary: 'A collection: its counts and properties',
    query: noQuery,
    answers: { 200: { description: 'The collection.', content: { [JSON_TYPE]: { schema: collectionAnswer, example: COLLECTION } } } },
    problems: ['not-found'],
  },
  'PUT /v1/collections/:collection': {
    id: 'putCollection',
    tag: 'Insert',
    summary: 'Set the properties of a collection',
    text: 'Collections of one placement group live in one shard, so that their records can be in one batch and refer to each other. Fixed once it has records.',
    query: noQuery,
    body: {
      description: 'Its properties.',
      content: { [JSON_TYPE]: { schema: placementEnvelope, example: { placement: 'group:orders' } } },
    },
    answers: {
      200: {
        description: 'The collection.',
        content: { [JSON_TYPE]: { schema: collectionAnswer, example: { ...COLLECTION, placement: 'group:orders' } } },
      },
    },
    problems: [
      'unknown-field',
      'system-collection',
      'placement-fixed',
      'too-large',
      'unsupported-media-type',
      'request-timeout',
      'not-written',
      'read-only',
      ...OF_PASSED_ON,
    ],
  },
};
