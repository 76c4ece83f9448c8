/** The description of inserting, ending and reading one entity, and of listings. */
import { z } from 'zod';
import { JSON_TYPE, NDJSON_TYPE, PATCH_TYPE } from '../answers.js';
import {
  entityDiffQuery,
  entityQuery,
  historyAnswer,
  historyQuery,
  insertQuery,
  listAnswer,
  listLine,
  listQuery,
  noQuery,
  record,
  recordHeader,
} from '../schemas.js';
import { HEADER_EXAMPLE, RECORD_EXAMPLE } from './examples.js';
import { type Descriptions, OF_INSERTS } from './operation.js';

const INSERT_HEADERS = ['If-Match', 'If-None-Match', 'Varve-Refs', 'Varve-Time', 'Idempotency-Key'] as const;
const READ_AT: readonly ['trimmed', 'cross-shard', 'time-ahead'] = ['trimmed', 'cross-shard', 'time-ahead'];
const anyJson = z.unknown().meta({ description: 'Any JSON value.' });
const jsonPatch = z.array(
  z.union([
    z.strictObject({ op: z.enum(['add', 'replace']), path: z.string(), value: z.unknown() }),
    z.strictObject({ op: z.literal('remove'), path: z.string() }),
  ]),
);
const inserted = { [JSON_TYPE]: { schema: recordHeader, example: HEADER_EXAMPLE } };
const insertedHeaders = ['ETag', 'Location', 'Idempotent-Replay?'] as const;

export const entityDescriptions: Descriptions = {
  'PUT /v1/collections/:collection/entities/:key': {
    id: 'putEntity',
    tag: 'Insert',
    summary: 'Insert a version',
    text: 'The body is the new version, whole. The collection comes into being with its first record. The answer comes once the version is durable.',
    query: insertQuery,
    headers: INSERT_HEADERS,
    body: {
      description: 'The version: any JSON value, 1 MiB at most by default.',
      content: { [JSON_TYPE]: { schema: anyJson, example: RECORD_EXAMPLE.body } },
    },
    answers: { 201: { description: 'The record, without its body.', content: inserted, headers: insertedHeaders } },
    problems: [...OF_INSERTS],
  },
  'DELETE /v1/collections/:collection/entities/:key': {
    id: 'deleteEntity',
    tag: 'Insert',
    summary: 'End an entity',
    text: 'Inserts a tombstone. Earlier versions stay readable as of their time.',
    query: insertQuery,
    headers: INSERT_HEADERS,
    answers: {
      200: {
        description: 'The tombstone.',
        content: { [JSON_TYPE]: { schema: recordHeader, example: { ...HEADER_EXAMPLE, deleted: true } } },
        headers: insertedHeaders,
      },
    },
    problems: [...OF_INSERTS, 'nothing-to-delete'],
  },
  'GET /v1/collections/:collection/entities/:key': {
    id: 'getEntity',
    tag: 'Select',
    summary: 'The newest version, or the one of a point in time',
    text: 'With `view=body` the answer is what was put, and the rest of the record stands in headers.',
    query: entityQuery,
    headers: ['If-None-Match', 'Accept-Datetime'],
    answers: {
      200: {
        description: 'The record, or its bare body.',
        content: { [JSON_TYPE]: { schema: z.union([record, anyJson]), example: RECORD_EXAMPLE } },
        headers: [
          'ETag',
          'Vary',
          'Memento-Datetime?',
          'Link?',
          'Content-Location?',
          'Varve-Id?',
          'Varve-Shard?',
          'Varve-Seq?',
          'Varve-Time?',
          'Varve-Hash?',
          'Varve-Supersedes?',
          'Varve-Refs?',
        ],
      },
      304: { description: 'It is still the version that `If-None-Match` names.', headers: ['ETag', 'Vary', 'Memento-Datetime?', 'Link?'] },
    },
    problems: [...READ_AT, 'not-found', 'deleted', 'erased'],
  },
  'GET /v1/collections/:collection/entities/:key/history': {
    id: 'getHistory',
    tag: 'Select',
    summary: 'All versions of an entity',
    text: '`complete` is false where older versions were trimmed.',
    query: historyQuery,
    answers: {
      200: {
        description: 'A page of versions, newest first or as `order` says.',
        content: { [JSON_TYPE]: { schema: historyAnswer, example: { records: [RECORD_EXAMPLE], next: null, complete: true } } },
      },
    },
    problems: [...READ_AT, 'not-found'],
  },
  'GET /v1/collections/:collection/entities/:key/diff': {
    id: 'diffEntity',
    tag: 'Select',
    summary: 'What changed in an entity from one point in time to another',
    text: 'A JSON Patch (RFC 6902) that makes the one body of the other; `to` is now unless it is given. Large arrays are compared place by place.',
    query: entityDiffQuery,
    answers: {
      200: {
        description: 'The patch; empty where nothing differs.',
        content: { [PATCH_TYPE]: { schema: jsonPatch, example: [{ op: 'replace', path: '/city', value: 'Oslo' }] } },
        headers: ['Varve-From', 'Varve-To'],
      },
    },
    problems: [...READ_AT, 'not-found', 'deleted', 'erased'],
  },
  'GET /v1/collections/:collection/entities': {
    id: 'listEntities',
    tag: 'Select',
    summary: 'Entities alive now, or at a point in time',
    text: 'In key order. The first page fixes the point in time for the rest. As NDJSON: all of them, in one answer, unless `limit` is given.',
    query: listQuery,
    answers: {
      200: {
        description: 'A page, or with `Accept: application/x-ndjson` a line for each entity.',
        content: {
          [JSON_TYPE]: { schema: listAnswer, example: { records: [RECORD_EXAMPLE], next: null } },
          [NDJSON_TYPE]: { line: listLine, description: 'The last line tells the count; without it the answer was cut short.' },
        },
      },
    },
    problems: [...READ_AT, 'not-acceptable'],
  },
  'GET /v1/records/:id': {
    id: 'getRecord',
    tag: 'Select',
    summary: 'One record',
    query: noQuery,
    headers: ['If-None-Match'],
    answers: {
      200: { description: 'The record.', content: { [JSON_TYPE]: { schema: record, example: RECORD_EXAMPLE } }, headers: ['ETag'] },
      304: { description: 'A record never changes.', headers: ['ETag'] },
    },
    problems: ['not-found', 'trimmed', 'erased'],
  },
};
