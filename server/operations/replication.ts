/** The description of what nodes say to each other. The bytes of streams, and why it is enough, stand in docs/PROTOCOL.md. */
import { z } from 'zod';
import { JSON_TYPE } from '../answers.js';
import { count, hashText, noQuery } from '../schemas.js';
import { HEADER_EXAMPLE } from './examples.js';
import type { ResponseHeader } from './headers.js';
import type { Answer, Descriptions } from './operation.js';

const NODE = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';
const identity = z.string().regex(/^[0-9a-f]{32}$/);
const shardNumber = z.number().int().positive();
const epochs = z
  .array(z.tuple([count, count, count]))
  .meta({ description: 'Epoch, its first seq, and its last that counts; oldest first.' });
const state = z
  .strictObject({
    shard: shardNumber,
    role: z.enum(['owner', 'follower', 'fenced']),
    epoch: count,
    promised: count.meta({ description: 'Nothing of an epoch below this is taken any more.' }),
    durableSeq: count,
    quorumSeq: count,
    compactedThrough: count,
    firstSeq: count,
    epochs,
    owner: z.strictObject({ node: identity, url: z.string() }).nullable(),
    caughtUp: z.boolean().meta({ description: 'Whether this copy ever held all that its source had.' }),
  })
  .meta({ id: 'ReplicaState' });
const STATE = {
  shard: 1,
  role: 'owner' as const,
  epoch: 1,
  promised: 0,
  durableSeq: 2623,
  quorumSeq: 2623,
  compactedThrough: 0,
  firstSeq: 1,
  epochs: [[1, 1, 2623]] as [number, number, number][],
  owner: null,
  caughtUp: true,
};
const OWN: readonly ResponseHeader[] = ['Varve-Node', 'Varve-Database'];

function json(description: string, schema: z.ZodType, example?: unknown): Answer {
  return { description, headers: OWN, content: { [JSON_TYPE]: { schema, ...(example === undefined ? {} : { example }) } } };
}

function binary(type: string, description: string, headers: readonly ResponseHeader[] = []): Answer {
  const schema = z.string().meta({ override: { type: 'string', format: 'binary' } });
  return { description, headers: [...OWN, ...headers], content: { [type]: { schema } } };
}

function body(description: string, schema: z.ZodType, example: unknown) {
  return { description, content: { [JSON_TYPE]: { schema, example } } };
}

const OF_BODIES = ['too-large', 'unsupported-media-type', 'request-timeout'] as const;
const numberText = (description: string) =>
  z
    .string()
    .regex(/^\d{1,15}$/)
    .meta({ description });

export const replicationDescriptions: Descriptions = {
  'GET /replication/v1/state': {
    id: 'getReplicaStates',
    tag: 'Copies',
    summary: 'Who this node is, and the state of its shards',
    query: noQuery,
    answers: {
      200: json('All shards.', z.strictObject({ node: identity, database: identity, shards: count, states: z.array(state) }), {
        node: NODE,
        database: '7fda95892c2f4474dd221a1591696927',
        shards: 1,
        states: [STATE],
      }),
    },
    problems: [],
  },
  'GET /replication/v1/shards/:shard/state': {
    id: 'getReplicaState',
    tag: 'Copies',
    summary: 'The state of one shard on this node',
    query: noQuery,
    answers: { 200: json('The state.', state, STATE) },
    problems: ['not-found'],
  },
  'GET /replication/v1/shards/:shard/log': {
    id: 'followLog',
    tag: 'Copies',
    summary: 'The log of a shard as a stream',
    text: 'What is durable behind a position, and what becomes durable, for as long as it is read. 409 where the position is not in the history of this node, 410 where the log does not reach back so far.',
    query: z.strictObject({
      after: numberText('The last seq that the follower has; 0: none.'),
      epoch: numberText('Of that seq.'),
      until: numberText('End there.').optional(),
    }),
    answers: { 200: binary('application/vnd.varve.log', 'Messages, as docs/PROTOCOL.md has them.') },
    problems: ['not-found', 'copies-differ', 'log-too-old'],
  },
  'GET /replication/v1/segments': {
    id: 'listSegments',
    tag: 'Copies',
    summary: 'The files of every log',
    text: 'Which there are, and how many bytes of each are durable.',
    query: noQuery,
    answers: {
      200: json(
        'One consistent state.',
        z.strictObject({
          database: z.string(),
          shards: count,
          segments: z.array(z.looseObject({ shard: shardNumber, name: z.string(), bytes: count })),
        }),
      ),
    },
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
      200: binary('application/octet-stream', 'All of it.', ['Accept-Ranges']),
      206: binary('application/octet-stream', 'The range.', ['Accept-Ranges', 'Content-Range']),
    },
    problems: ['not-found', 'range-not-satisfiable'],
  },
  'POST /replication/v1/acks': {
    id: 'reportPositions',
    tag: 'Copies',
    summary: 'A follower tells how far it is durable',
    query: noQuery,
    body: body(
      'Of each shard: its number, the epoch, the last durable seq, and through which event erasures are carried out in its files.',
      z.strictObject({ node: identity, url: z.string().optional(), positions: z.array(z.tuple([count, count, count, count])) }),
      { node: NODE, url: 'http://10.0.0.2:7411', positions: [[1, 1, 2623, 0]] },
    ),
    answers: { 200: json('Quorum positions.', z.strictObject({ quorum: z.array(z.tuple([count, count])) }), { quorum: [[1, 2623]] }) },
    problems: OF_BODIES,
  },
  'POST /replication/v1/shards/:shard/promises': {
    id: 'askForPromise',
    tag: 'Copies',
    summary: 'A candidate asks for a promise',
    text: 'To take nothing of older epochs any more. Durable before it is answered.',
    query: noQuery,
    body: body('The epoch, and who wants to own it.', z.strictObject({ epoch: count, candidate: identity, url: z.string() }), {
      epoch: 2,
      candidate: NODE,
      url: 'http://10.0.0.2:7411',
    }),
    answers: {
      200: json(
        'Whether it was given, and how far this copy goes.',
        z.strictObject({ promised: z.boolean(), epoch: count, position: z.tuple([count, count]), caughtUp: z.boolean() }),
        { promised: true, epoch: 2, position: [1, 2623], caughtUp: true },
      ),
    },
    problems: ['not-found', 'not-written', 'outcome-unknown', ...OF_BODIES],
  },
  'GET /replication/v1/shards/:shard/position': {
    id: 'resolveTime',
    tag: 'Copies',
    summary: 'The seq that a time covers, by the owner',
    text: 'The owner stamps later than that time from then on.',
    query: z.strictObject({ time: z.string().meta({ description: 'RFC 3339.' }) }),
    answers: { 200: json('The last seq.', z.strictObject({ seq: count }), { seq: 2623 }) },
    problems: ['not-found', 'copies-differ', 'time-ahead'],
  },
  'GET /replication/v1/shards/:shard/root': {
    id: 'getRootAt',
    tag: 'Copies',
    summary: 'The root at a seq, to be compared',
    text: 'Waits briefly for the seq. 409 where it does not come, or the tree is beyond it.',
    query: z.strictObject({ seq: numberText('Where to compare.') }),
    answers: {
      200: json('The root.', z.strictObject({ seq: count, root: hashText, entries: count, compactedThrough: count }), {
        seq: 2623,
        root: HEADER_EXAMPLE.hash,
        entries: 2611,
        compactedThrough: 0,
      }),
    },
    problems: ['not-found', 'copies-differ'],
  },
  'POST /replication/v1/shards/:shard/nodes': {
    id: 'getNodes',
    tag: 'Copies',
    summary: 'Nodes of the tree of a root',
    text: 'As they are hashed; whoever takes them checks them against the hash that their parent gave.',
    query: noQuery,
    body: body('The seq of the root, and the path to each node: which child at each level.', z.looseObject({ seq: count }), {
      seq: 2623,
      at: [[], [0], [1, 4]],
    }),
    answers: { 200: binary('application/vnd.varve.nodes', 'For each: u32 length, little-endian, and its bytes.') },
    problems: ['not-found', 'copies-differ', ...OF_BODIES],
  },
};
