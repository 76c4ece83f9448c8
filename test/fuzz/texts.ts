/** Everything else that a request, or a file beside the data, may say: cursors, queries, headers, times, names, tokens. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { expect } from 'vitest';
import { z } from 'zod';
import { checkCollection, checkKey, formatTime, isVarveError, parseTime } from '../../engine/index.js';
import { decodeCursor, encodeCursor, positions } from '../../server/cursor.js';
import { ConfigError, checkRequest, Hosts, parseListen } from '../../server/guard.js';
import { Access, readTokens } from '../../server/index.js';
import { acceptedDatetime } from '../../server/memento.js';
import { Problem } from '../../server/problem.js';
import { isNotModified, negotiate, readExpect, readInsertOptions, readQuery, readRefs } from '../../server/requests.js';
import { MapDisk, token } from '../server/doors-support.js';
import { mutated } from './mutations.js';
import { pure, type Target } from './target.js';

/** A value, or undefined for a refusal of the meant kind. */
function meant<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConfigError || isVarveError(error, 'INVALID') || isVarveError(error, 'TOO_LARGE')) return undefined;
    if (error instanceof Problem && error.status < 500) {
      expect(() => JSON.stringify(error)).not.toThrow();
      for (const value of Object.values(error.headers)) expect(value).toMatch(/^[\x20-\x7e]*$/);
      return undefined;
    }
    throw error;
  }
}

function passes(check: () => void): boolean {
  return (
    meant(() => {
      check();
      return true;
    }) === true
  );
}

const PLACE = z.tuple([positions, z.string()]);
const FIXED = { db: 'd', route: 'list', collection: 'c' };
const CURSORS = [
  encodeCursor(FIXED, [[1, null, 2 ** 48 - 1], 'key']),
  encodeCursor({ ...FIXED, prefix: 'p' }, [[0], '']),
  Buffer.from('[1,{"__proto__":"x"},[[1],"k"]]').toString('base64url'),
].map((text) => Buffer.from(text));

export const cursor: Target = pure(
  'cursor',
  'cursors: only of the very question they came from, and with places that can be',
  fc.oneof(
    mutated(CURSORS),
    mutated(CURSORS.map((text) => Buffer.from(text.toString(), 'base64url'))).map((raw) => Buffer.from(raw.toString('base64url'))),
  ),
  (bytes) => {
    const found = meant(() => decodeCursor(bytes.toString('latin1'), FIXED, {}, PLACE));
    if (found === undefined) return;
    expect(found.question).toMatchObject(FIXED);
    for (const position of found.place[0])
      expect(position === null || (Number.isSafeInteger(position) && position >= 0 && position < 2 ** 48)).toBe(true);
  },
);

const HEADERS = [
  'host',
  'origin',
  'if-match',
  'if-none-match',
  'varve-refs',
  'varve-time',
  'idempotency-key',
  'accept',
  'accept-datetime',
  'authorization',
];
const values = fc.oneof(
  mutated(
    [
      '"0001000000000a3f"',
      '*',
      'W/"x", "y"',
      '0001000000000a3f, 0001000000000a40',
      '2026-11-21T08:00:00.123456+02:00',
      'Sat, 21 Nov 2026 08:00:00 GMT',
      'application/json;q=0.5, text/*',
      'localhost:7411',
      '[::1]:80',
      'http://localhost',
      token('read').text,
      `Bearer ${token('read').text}`,
      '0001000000000a3f.5',
    ].map((text) => Buffer.from(text)),
  ).map((bytes) => bytes.toString('latin1')),
  fc.string({ maxLength: 60 }),
);
const ACCESS = new Access([token('read').record]);

export const headers: Target = pure(
  'headers',
  'headers, query strings, hosts and tokens',
  fc.tuple(fc.uniqueArray(fc.tuple(fc.constantFrom(...HEADERS), values), { selector: ([name]) => name }), values),
  ([list, target]) => {
    const req = {
      headers: Object.fromEntries(list) as IncomingHttpHeaders,
      rawHeaders: list.flat(),
      url: `/${target}`,
      method: 'GET',
    } as unknown as IncomingMessage;
    for (const read of [readExpect, readRefs, readInsertOptions, acceptedDatetime]) meant(() => read(req));
    meant(() => isNotModified(req, '0001000000000a3f'));
    meant(() => negotiate(req, ['application/json', 'application/x-ndjson']));
    meant(() => checkRequest(req, new Hosts({ host: '127.0.0.1', port: 1 })));
    const query = meant(() => readQuery(`/x?${target}`));
    if (query !== undefined) for (const value of Object.values(query)) expect(typeof value).toBe('string');
    expect(ACCESS.identify(req.headers.authorization).role).toBe('none');
    meant(() => parseListen(target));
  },
);

export const names: Target = pure(
  'names',
  'times, names of collections and keys: one value, one text',
  fc.tuple(
    fc.oneof(
      mutated([Buffer.from('2026-11-21T08:00:00.000000Z'), Buffer.from('1970-01-01t00:00:00.1-23:59')]).map(String),
      fc.string({ maxLength: 40 }),
    ),
    fc.string({ unit: 'binary', maxLength: 520 }),
  ),
  ([time, name]) => {
    const micros = meant(() => parseTime(time));
    if (micros !== undefined) {
      expect(Number.isSafeInteger(micros) && micros >= 0).toBe(true);
      expect(parseTime(formatTime(micros))).toBe(micros);
    }
    if (passes(() => checkKey(name))) {
      expect(Buffer.from(name).toString()).toBe(name);
      expect(decodeURIComponent(encodeURIComponent(name))).toBe(name);
      expect(name).not.toMatch(/[\u0000-\u001f\u007f]|^\.{0,2}$/);
    }
    if (passes(() => checkCollection(name))) expect(name).toMatch(/^[A-Za-z_][A-Za-z0-9_-]{0,63}$/);
  },
);

const DISK = new MapDisk();
DISK.tokens('t', token('read'), token('write', 'c'));
const TOKEN_FILE = Buffer.from(DISK.read('t')!.bytes);

export const tokens: Target = pure('tokens', 'token files: rights that were given, or none', mutated([TOKEN_FILE]), (bytes) => {
  DISK.write('t', bytes);
  for (const { role, collections } of meant(() => readTokens(DISK, 't')) ?? []) {
    expect(['read', 'write', 'admin', 'replica']).toContain(role);
    expect(collections === null || collections.length > 0).toBe(true);
  }
});
