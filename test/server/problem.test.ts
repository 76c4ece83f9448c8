/** The problem tables: every engine error has an answer, and none of them tells what it should not. */
import { describe, expect, it } from 'vitest';
import { type ErrorCode, type ErrorDetails, VarveError } from '../../engine/index.js';
import { FROM_ENGINE, KINDS, problemOf } from '../../server/problem.js';

const SECRET = '/home/someone/varve-data/shards/0001/log/x.seg';

const DETAILS: { [C in ErrorCode]: ErrorDetails[C] } = {
  INVALID: { path: 'records[3].key', expected: '1 to 512 bytes' },
  TOO_LARGE: { what: 'body', limit: 10, actual: 11 },
  CROSS_SHARD: { shards: [1, 2] },
  CONFLICT: { collection: 'c', key: 'k', current: '0001000000000001' },
  NOTHING_TO_DELETE: { collection: 'c', key: 'k' },
  BAD_REF: { ref: '0001000000000001', reason: 'later' },
  TIME_BEHIND: { newest: '2026-11-21T08:00:00.000000Z' },
  TIME_AHEAD: { now: '2026-11-21T08:00:00.000000Z' },
  IDEMPOTENCY_MISMATCH: { key: 'a' },
  PLACEMENT_FIXED: { collection: 'c', placement: 'key' },
  SYSTEM_COLLECTION: { collection: '_collections' },
  NOT_WRITTEN: { shard: 1, reason: SECRET },
  OUTCOME_UNKNOWN: { shard: 1, reason: SECRET },
  UNAVAILABLE: { shard: 1, reason: SECRET },
  DAMAGED: { shard: 1, fromSeq: 3, toSeq: 4 },
  NOT_OWNER: { shard: 1, owner: 'ab', url: 'https://b.example' },
  BEHIND: { shard: 1, seq: 9 },
  DIVERGED: { shard: 1, seq: 9 },
  PASSED: { shard: 1, seq: 9 },
  UNSOUND: { shard: 1, what: 'times fall' },
  CORRUPT: { file: SECRET, offset: 12, what: SECRET },
  TRIMMED: { collection: 'c', horizon: '0001000000000a3f' },
  ERASED: { id: '0001000000000a3f' },
  SNAPSHOT_EXISTS: { name: 'audit', asOf: '2026-11-21T08:00:00.000000Z' },
  LOCKED: { path: SECRET },
  NETWORK_FILE_SYSTEM: { kind: 'nfs' },
  INCOMPATIBLE: { expected: SECRET, found: SECRET },
  OVERLOADED: { retryAfterMs: 1500 },
  CLOSED: {},
};

const STATUS: { [C in ErrorCode]: number } = {
  INVALID: 400,
  TOO_LARGE: 413,
  CROSS_SHARD: 422,
  CONFLICT: 412,
  NOTHING_TO_DELETE: 404,
  BAD_REF: 422,
  TIME_BEHIND: 409,
  TIME_AHEAD: 400,
  IDEMPOTENCY_MISMATCH: 422,
  PLACEMENT_FIXED: 409,
  SYSTEM_COLLECTION: 403,
  NOT_WRITTEN: 503,
  OUTCOME_UNKNOWN: 503,
  UNAVAILABLE: 503,
  DAMAGED: 503,
  NOT_OWNER: 503,
  BEHIND: 503,
  DIVERGED: 503,
  PASSED: 500,
  UNSOUND: 500,
  CORRUPT: 500,
  TRIMMED: 410,
  ERASED: 410,
  SNAPSHOT_EXISTS: 409,
  LOCKED: 503,
  NETWORK_FILE_SYSTEM: 503,
  INCOMPATIBLE: 503,
  OVERLOADED: 503,
  CLOSED: 503,
};

const FILE_BEARING = new Set<ErrorCode>(['NOT_WRITTEN', 'OUTCOME_UNKNOWN', 'UNAVAILABLE', 'CORRUPT', 'LOCKED', 'INCOMPATIBLE']);

describe('problems', () => {
  for (const code of Object.keys(FROM_ENGINE) as ErrorCode[]) {
    it(`${code} answers ${STATUS[code]} with a type of its own words and never a path`, () => {
      const message = FILE_BEARING.has(code) ? `broken at ${SECRET}` : 'what happened';
      const problem = problemOf(new VarveError(code, message, DETAILS[code]));
      const body = problem.toJSON();
      expect(problem.status).toBe(STATUS[code]);
      expect(body).toMatchObject({ type: `urn:varve:${problem.slug}`, title: KINDS[problem.slug].title, status: STATUS[code] });
      expect(body.detail).not.toBe('');
      expect(JSON.stringify(body)).not.toContain('someone');
      expect(JSON.stringify(body)).not.toContain('.ts:');
    });
  }

  it('every 503 says when to try again', () => {
    for (const code of Object.keys(FROM_ENGINE) as ErrorCode[]) {
      const problem = problemOf(new VarveError(code, 'm', DETAILS[code]));
      if (problem.status === 503) expect(Number(problem.headers['Retry-After'])).toBeGreaterThan(0);
    }
    expect(problemOf(new VarveError('OVERLOADED', 'm', { retryAfterMs: 1500 })).headers['Retry-After']).toBe('2');
  });

  it('a failed write names no record', () => {
    for (const code of ['NOT_WRITTEN', 'OUTCOME_UNKNOWN'] as const) {
      expect(Object.keys(problemOf(new VarveError(code, 'm', { shard: 1, reason: 'r' })).fields)).toEqual(['shard']);
    }
  });

  it('what nobody meant is internal, and tells nothing', () => {
    for (const thrown of [new TypeError(SECRET), SECRET, undefined, null, 7]) {
      const body = problemOf(thrown).toJSON();
      expect(body).toMatchObject({ type: 'urn:varve:internal', status: 500 });
      expect(JSON.stringify(body)).not.toContain('someone');
    }
  });

  it('slugs are words with dashes', () => {
    for (const slug of Object.keys(KINDS)) expect(slug).toMatch(/^[a-z]+(-[a-z]+)*$/);
  });
});
