/** The description of the feed, of differences between points in time, and of proofs. */
import { JSON_TYPE, NDJSON_TYPE } from '../answers.js';
import { changeEvent, changeLine, changesQuery, diffAnswer, diffLine, diffQuery, noQuery, proofAnswer } from '../schemas.js';
import { HEADER_EXAMPLE, RECORD_EXAMPLE } from './examples.js';
import type { Descriptions } from './operation.js';

const DIFFERENCE = { collection: 'customers', key: 'alice', from: null, to: HEADER_EXAMPLE.id };

export const feedDescriptions: Descriptions = {
  'GET /v1/changes': {
    id: 'getChanges',
    tag: 'Select',
    summary: 'The feed of changes',
    text:
      'Every record as it becomes durable, in order within each shard, each with the cursor to go on after it. The answer lasts until the reader leaves, ' +
      '`live=false` or `limit` ends it, or the server shuts down. While nothing happens a heartbeat comes every 15 seconds. ' +
      'Over 64 shards `shard` must be given.',
    query: changesQuery,
    headers: ['Last-Event-ID'],
    answers: {
      200: {
        description:
          'As NDJSON, or with `Accept: text/event-stream` as server-sent events, whose `id:` is the cursor and whose `data:` is the record.',
        content: {
          [NDJSON_TYPE]: { line: changeLine, example: `${JSON.stringify({ ...RECORD_EXAMPLE, cursor: 'AQE' })}\n` },
          'text/event-stream': {
            line: changeEvent,
            description: 'The data of each event is JSON.',
            example: `id: AQE\ndata: ${JSON.stringify(RECORD_EXAMPLE)}\n\n`,
          },
        },
      },
    },
    problems: ['trimmed', 'cross-shard', 'not-acceptable', 'too-many-requests'],
  },
  'GET /v1/diff': {
    id: 'getDiff',
    tag: 'Select',
    summary: 'Entities that differ between two points in time',
    text: 'Without `to`: until now. As NDJSON: all of them in one answer, unless `limit` is given.',
    query: diffQuery,
    answers: {
      200: {
        description: 'A page, or with `Accept: application/x-ndjson` a line for each difference.',
        content: {
          [JSON_TYPE]: { schema: diffAnswer, example: { differences: [DIFFERENCE], next: null } },
          [NDJSON_TYPE]: { line: diffLine, description: 'The last line tells the count; without it the answer was cut short.' },
        },
      },
    },
    problems: ['trimmed', 'cross-shard', 'time-ahead', 'not-acceptable'],
  },
  'GET /v1/records/:id/proof': {
    id: 'getProof',
    tag: 'Select',
    summary: 'The proof that a record belongs to a root',
    text:
      'The nodes of the tree from the leaf to the root, with the salt of the body (or the hash of an erased one): enough to check, without a server, ' +
      'that this very record is part of the content that the root names. The path names neighbours of the record, so a token limited to collections cannot ask.',
    query: noQuery,
    answers: { 200: { description: 'The proof.', content: { [JSON_TYPE]: { schema: proofAnswer } } } },
    problems: ['not-found', 'trimmed', 'erased'],
  },
};
