/** The description of shards, and of their logs as files. */
import { z } from 'zod';
import { JSON_TYPE } from '../answers.js';
import { noQuery, rootAnswer, rootQuery, segmentsAnswer, shardAnswer, shardsAnswer } from '../schemas.js';
import { HEADER_EXAMPLE } from './examples.js';
import type { Descriptions } from './operation.js';

const ROOT = HEADER_EXAMPLE.hash;
const SHARD = {
  shard: 1,
  role: 'owner',
  state: 'open',
  epoch: 0,
  firstSeq: 1,
  lastSeq: 2623,
  durableSeq: 2623,
  checkpoint: { seq: 2600, root: ROOT },
  liveBytes: 524_288,
  deadBytes: 0,
  followers: [],
};

export const shardDescriptions: Descriptions = {
  'GET /v1/shards': {
    id: 'listShards',
    tag: 'Copies',
    summary: 'Every shard: positions, bytes, followers',
    query: noQuery,
    answers: { 200: { description: 'The shards.', content: { [JSON_TYPE]: { schema: shardsAnswer, example: { shards: [SHARD] } } } } },
    problems: [],
  },
  'GET /v1/shards/:shard': {
    id: 'getShard',
    tag: 'Copies',
    summary: 'One shard',
    query: noQuery,
    answers: { 200: { description: 'The shard.', content: { [JSON_TYPE]: { schema: shardAnswer, example: SHARD } } } },
    problems: ['not-found'],
  },
  'GET /v1/shards/:shard/root': {
    id: 'getRoot',
    tag: 'Copies',
    summary: 'The root hash: 32 bytes that name all live content',
    text: 'At the newest durable seq, or at a past checkpoint. Two copies are the same exactly if their roots at one seq are.',
    query: rootQuery,
    answers: {
      200: {
        description: 'The root.',
        content: { [JSON_TYPE]: { schema: rootAnswer, example: { shard: 1, seq: 2623, root: ROOT, entries: 2611 } } },
      },
    },
    problems: ['not-found'],
  },
  'GET /replication/v1/segments': {
    id: 'listSegments',
    tag: 'Copies',
    summary: 'The files of every log',
    text: 'Which there are, and how many bytes of each are durable.',
    query: noQuery,
    answers: { 200: { description: 'One consistent state.', content: { [JSON_TYPE]: { schema: segmentsAnswer } } } },
    problems: [],
  },
  'GET /replication/v1/shards/:shard/segments/:name': {
    id: 'getSegment',
    tag: 'Copies',
    summary: 'The bytes of a file of the log',
    text: 'Checksums and all; whoever takes them checks them.',
    query: noQuery,
    headers: ['Range'],
    answers: {
      200: { description: 'All of it.', content: { 'application/octet-stream': { schema: bytes() } }, headers: ['Accept-Ranges'] },
      206: {
        description: 'The range.',
        content: { 'application/octet-stream': { schema: bytes() } },
        headers: ['Accept-Ranges', 'Content-Range'],
      },
    },
    problems: ['not-found', 'range-not-satisfiable'],
  },
};

function bytes() {
  return z.string().meta({ override: { type: 'string', format: 'binary' } });
}
