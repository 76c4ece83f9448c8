/** The description of what keeps and gives back. */
import { JSON_TYPE } from '../answers.js';
import {
  compactionEnvelope,
  erasureEnvelope,
  jobAnswer,
  jobEnvelope,
  jobsAnswer,
  retentionAnswer,
  retentionEnvelope,
  snapshotAnswer,
  snapshotEnvelope,
  snapshotsAnswer,
  verificationEnvelope,
} from '../keep-schemas.js';
import { noQuery } from '../schemas.js';
import { type Answer, type Descriptions, OF_PASSED_ON } from './operation.js';

const TIME = '2026-11-21T08:00:00.000000Z';
const SNAPSHOT = { name: 'audit-2026', asOf: TIME, positions: ['0001000000000a3f'] };
const JOB = {
  id: '5f1d0c9a7b3e2846',
  kind: 'compaction',
  state: 'queued',
  paused: false,
  progress: 0,
  request: { force: true },
  created: TIME,
  started: null,
  ended: null,
  result: null,
  error: null,
};
const WRITES = [
  'invalid',
  'unknown-field',
  'too-large',
  'unsupported-media-type',
  'request-timeout',
  'not-written',
  'outcome-unknown',
] as const;

const retention: Answer = {
  description: 'What it keeps.',
  content: { [JSON_TYPE]: { schema: retentionAnswer, example: { keep: 'last', versions: 5 } } },
};
const snapshot: Answer = { description: 'The snapshot.', content: { [JSON_TYPE]: { schema: snapshotAnswer, example: SNAPSHOT } } };
const job: Answer = { description: 'The job.', content: { [JSON_TYPE]: { schema: jobAnswer, example: JOB } } };
const accepted: Answer = { ...job, description: 'The job that does it.', headers: ['Location'] };

export const keepDescriptions: Descriptions = {
  'GET /v1/collections/:collection/retention': {
    id: 'getRetention',
    tag: 'Keep',
    summary: 'What a collection keeps',
    query: noQuery,
    answers: { 200: retention },
    problems: [],
  },
  'PUT /v1/collections/:collection/retention': {
    id: 'putRetention',
    tag: 'Keep',
    summary: 'Decide what a collection keeps',
    text: 'Everything, history for a duration (and what was current at its start), or the last versions of each entity. Logged in every shard, or undone; what is let go goes with the next compaction.',
    query: noQuery,
    body: {
      description: 'What to keep.',
      content: { [JSON_TYPE]: { schema: retentionEnvelope, example: { keep: 'for', duration: 'P30D' } } },
    },
    answers: { 200: retention },
    problems: [...WRITES, ...OF_PASSED_ON, 'system-collection'],
  },
  'GET /v1/snapshots': {
    id: 'listSnapshots',
    tag: 'Keep',
    summary: 'Named points in time whose versions stay',
    query: noQuery,
    answers: {
      200: { description: 'By name.', content: { [JSON_TYPE]: { schema: snapshotsAnswer, example: { snapshots: [SNAPSHOT] } } } },
    },
    problems: [],
  },
  'GET /v1/snapshots/:name': {
    id: 'getSnapshot',
    tag: 'Keep',
    summary: 'One snapshot',
    query: noQuery,
    answers: { 200: snapshot },
    problems: ['not-found'],
  },
  'PUT /v1/snapshots/:name': {
    id: 'putSnapshot',
    tag: 'Keep',
    summary: 'Keep what is visible at a point in time',
    text: 'Tombstones too. The same name with the same point is the same snapshot.',
    query: noQuery,
    body: { description: 'The point.', content: { [JSON_TYPE]: { schema: snapshotEnvelope, example: { asOf: TIME } } } },
    answers: { 200: { ...snapshot, description: 'It was there already.' }, 201: { ...snapshot, headers: ['Location'] } },
    problems: [...WRITES, ...OF_PASSED_ON, 'snapshot-exists', 'time-ahead', 'trimmed'],
  },
  'DELETE /v1/snapshots/:name': {
    id: 'deleteSnapshot',
    tag: 'Keep',
    summary: 'Let a snapshot go',
    text: 'What only it kept goes with the next compaction.',
    query: noQuery,
    answers: { 204: { description: 'It is gone.' } },
    problems: ['not-found', 'not-written', ...OF_PASSED_ON],
  },
  'POST /v1/compactions': {
    id: 'postCompaction',
    tag: 'Keep',
    summary: 'Drop what is not kept, and give its space back',
    text: 'Trims by retention and snapshots, then rewrites the segments where that is worth it; with `force` wherever anything is dead.',
    query: noQuery,
    body: { description: 'What of it.', content: { [JSON_TYPE]: { schema: compactionEnvelope, example: { force: true } } } },
    answers: { 202: accepted },
    problems: [...WRITES],
  },
  'POST /v1/erasures': {
    id: 'postErasure',
    tag: 'Keep',
    summary: 'Take the bodies of an entity out of every file',
    text: 'From now on no answer holds them; proofs still verify. Keys and reasons stay.',
    query: noQuery,
    body: {
      description: 'Whose, and why.',
      content: {
        [JSON_TYPE]: { schema: erasureEnvelope, example: { collection: 'customers', key: 'alice', reason: 'asked to be forgotten' } },
      },
    },
    answers: { 202: accepted },
    problems: [...WRITES, ...OF_PASSED_ON, 'system-collection'],
  },
  'POST /v1/verifications': {
    id: 'postVerification',
    tag: 'Keep',
    summary: 'Compare with other copies, read everything back, mend what is damaged',
    text: 'Roots at one seq, and, where they differ, down to the records. `deep` reads every byte here first; `repair` takes what is damaged from copies that prove it.',
    query: noQuery,
    body: { description: 'What of it.', content: { [JSON_TYPE]: { schema: verificationEnvelope, example: { deep: true } } } },
    answers: { 202: accepted },
    problems: ['invalid', 'unknown-field', 'too-large', 'unsupported-media-type', 'request-timeout'],
  },
  'GET /v1/jobs': {
    id: 'listJobs',
    tag: 'Keep',
    summary: 'Jobs since the server started, newest first',
    query: noQuery,
    answers: { 200: { description: 'The jobs.', content: { [JSON_TYPE]: { schema: jobsAnswer, example: { jobs: [JOB] } } } } },
    problems: [],
  },
  'GET /v1/jobs/:id': {
    id: 'getJob',
    tag: 'Keep',
    summary: 'One job; as events until it has ended',
    text: 'With `Accept: text/event-stream` each change is an event `progress` whose `data:` is the job, and its last state one of `end`; a comment comes every 15 seconds.',
    query: noQuery,
    answers: {
      200: {
        description: 'The job, or each change of it.',
        content: {
          [JSON_TYPE]: { schema: jobAnswer, example: JOB },
          'text/event-stream': {
            line: jobAnswer,
            description: 'The data of each event is JSON.',
            example: `event: progress\ndata: ${JSON.stringify({ ...JOB, state: 'running', progress: 0.5, started: TIME })}\n\n`,
          },
        },
      },
    },
    problems: ['not-found', 'not-acceptable', 'too-many-requests'],
  },
  'PUT /v1/jobs/:id': {
    id: 'pauseJob',
    tag: 'Keep',
    summary: 'Pause a job, or let it go on',
    text: 'It stops within a slice of its work and keeps its place: jobs that wait for it wait on. One that has ended stays as it is. A restart forgets it; compaction begins anew by itself.',
    query: noQuery,
    body: { description: 'Whether it is paused.', content: { [JSON_TYPE]: { schema: jobEnvelope, example: { paused: true } } } },
    answers: { 200: job },
    problems: ['invalid', 'unknown-field', 'too-large', 'unsupported-media-type', 'request-timeout', 'not-found'],
  },
  'DELETE /v1/jobs/:id': {
    id: 'cancelJob',
    tag: 'Keep',
    summary: 'Cancel a job',
    text: 'What a compaction has swapped by then stays.',
    query: noQuery,
    answers: { 200: job },
    problems: ['not-found'],
  },
};
