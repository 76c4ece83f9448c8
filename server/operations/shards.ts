/** The description of shards. */
import { JSON_TYPE } from '../answers.js';
import { noQuery, promotionEnvelope, rootAnswer, rootQuery, shardAnswer, shardsAnswer } from '../schemas.js';
import { HEADER_EXAMPLE } from './examples.js';
import type { Descriptions } from './operation.js';

const ROOT = HEADER_EXAMPLE.hash;
const SHARD = {
  shard: 1,
  role: 'owner' as const,
  state: 'open' as const,
  epoch: 2,
  owner: { node: '0f1e2d3c4b5a69788796a5b4c3d2e1f0', url: 'http://10.0.0.1:7411' },
  firstSeq: 1,
  lastSeq: 2623,
  durableSeq: 2623,
  quorumSeq: 2623,
  lagSeconds: 0,
  checkpoint: { seq: 2600, root: ROOT },
  liveBytes: 524_288,
  deadBytes: 0,
  followers: [{ url: 'http://10.0.0.2:7411', ackedSeq: 2623, lagSeconds: 0, breaker: 'closed' as const, lastError: null }],
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
  'POST /v1/shards/:shard/promotion': {
    id: 'promote',
    tag: 'Copies',
    summary: 'Make this copy the owner',
    text: 'In the next epoch, with the promises of a majority of the replica set, none of which has more than this copy. What the owner before wrote alone is set aside when it comes back. `force` does without the majority and the comparison. An owner stays what it is.',
    query: noQuery,
    body: {
      description: 'May be left out.',
      optional: true,
      content: { [JSON_TYPE]: { schema: promotionEnvelope, example: { force: false } } },
    },
    answers: {
      200: { description: 'The shard, which this node owns now.', content: { [JSON_TYPE]: { schema: shardAnswer, example: SHARD } } },
    },
    problems: [
      'not-found',
      'no-majority',
      'candidate-behind',
      'too-large',
      'unknown-field',
      'unsupported-media-type',
      'request-timeout',
      'not-written',
      'outcome-unknown',
    ],
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
};
