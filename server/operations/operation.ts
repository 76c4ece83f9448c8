/**
 * How an operation is described: what OpenAPI, the documentation page and the tests of answers know of it. Whether somebody may call it
 * and what handles it stands in its route; routes/table.ts puts the two together.
 *
 * Invariant: what can be derived is not repeated here (the doors' own refusals, HEAD, the role), and what is said here is checked
 * against every answer the tests see.
 */
import type { z } from 'zod';
import type { Method } from '../exchange.js';
import type { Slug } from '../problem.js';
import type { RequestHeader, ResponseHeader } from './headers.js';

export const TAGS = {
  Insert: 'Every insert adds a version; nothing is ever changed in place.',
  Select: 'The newest version, or the one of any point in time.',
  Keep: 'What to keep, and giving back the space of the rest.',
  Copies: 'Shards, their roots, and the replicas that follow them.',
  Operate: 'Health, figures, and this description.',
} as const;
export type Tag = keyof typeof TAGS;

export interface Content {
  /** Of the whole body; for lines and bytes, text or binary by default. */
  readonly schema?: z.ZodType;
  /** Of each line of an NDJSON body, or of the `data:` of each event. */
  readonly line?: z.ZodType;
  readonly description?: string;
  readonly example?: unknown;
}

export interface Answer {
  readonly description: string;
  /** By media type; none: no body. */
  readonly content?: Readonly<Record<string, Content>>;
  /** `?` at the end of a name: not in every such answer. */
  readonly headers?: readonly (ResponseHeader | `${ResponseHeader}?`)[];
}

export interface RequestBody {
  readonly description: string;
  readonly optional?: true;
  readonly content: Readonly<Record<string, Content>>;
}

export interface Description {
  readonly id: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly text?: string;
  readonly query: z.ZodObject;
  readonly headers?: readonly RequestHeader[];
  readonly body?: RequestBody;
  readonly answers: Readonly<Record<number, Answer>>;
  /** Beside those that every operation, or every insert, can end in. */
  readonly problems: readonly Slug[];
}

export type Descriptions = Readonly<Record<`${Method} ${string}`, Description>>;

/** What any request may meet on its way in, and where something breaks inside. */
export const ANYWHERE: readonly Slug[] = [
  'invalid',
  'unknown-parameter',
  'host-not-allowed',
  'origin-not-allowed',
  'too-many-requests',
  'internal',
  'overloaded',
  'draining',
];
/** What any question of the database may meet beside that. */
export const OF_THE_DATABASE: readonly Slug[] = ['recovering', 'unavailable', 'damaged', 'corrupt', 'behind', 'diverged'];
export const BEHIND_TOKENS: readonly Slug[] = ['unauthorized', 'forbidden'];
/** An insert, in whatever form. */
export const OF_INSERTS: readonly Slug[] = [
  'system-collection',
  'time-ahead',
  'time-behind',
  'precondition-failed',
  'too-large',
  'unsupported-media-type',
  'request-timeout',
  'bad-ref',
  'idempotency-mismatch',
  'not-written',
  'outcome-unknown',
  'read-only',
  'not-owner',
  'owner-unreachable',
  'acks-timeout',
];
/** A write of another kind that a copy passes on to its owner. */
export const OF_PASSED_ON: readonly Slug[] = ['outcome-unknown', 'not-owner', 'owner-unreachable'];
