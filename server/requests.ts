/**
 * Reads what requests say beside their bodies: the query string (strictly: no name twice, no broken escapes), preconditions, refs,
 * times and idempotency keys in headers, and the media type that is wanted.
 */
import type { IncomingMessage } from 'node:http';
import type { InsertItem, InsertOptions } from '../engine/index.js';
import type { Query } from './exchange.js';
import { invalid, Problem } from './problem.js';

/** Of every target without a `?`: one object, so that who meets it again knows it. */
export const NO_QUERY: Query = Object.freeze(Object.create(null) as Record<string, string>);

/** The query of a request target. `+` is a space, as browsers and URLSearchParams write it. */
export function readQuery(target: string): Query {
  const start = target.indexOf('?');
  if (start < 0) return NO_QUERY;
  const query: Record<string, string> = Object.create(null);
  for (const pair of target.slice(start + 1).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = unescapePart(equals < 0 ? pair : pair.slice(0, equals));
    if (name in query) throw invalid(name, 'each query parameter once', `the query parameter ${name} is given more than once`);
    query[name] = equals < 0 ? '' : unescapePart(pair.slice(equals + 1));
  }
  return query;
}

function unescapePart(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw invalid('query', 'percent-encoded UTF-8', 'the query has a broken percent-encoding');
  }
}

const ENTITY_TAG = /^\s*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*$/;
const RECORD_ID = /^[0-9a-f]{16}$/;

interface EntityTag {
  readonly weak: boolean;
  readonly text: string;
}

function entityTags(header: string, name: string): EntityTag[] | '*' {
  if (header.trim() === '*') return '*';
  return header.split(',').map((part) => {
    const match = ENTITY_TAG.exec(part);
    if (match === null) throw invalid(name, 'entity tags in double quotes, separated by commas, or *');
    return { weak: match[1] !== undefined, text: match[2] ?? '' };
  });
}

/** `expect` of the insert, or undefined where the request has no condition. A tag that is no id can match nothing. */
export function readExpect(req: IncomingMessage): InsertItem['expect'] {
  const match = req.headers['if-match'];
  const noneMatch = req.headers['if-none-match'];
  if (match !== undefined && noneMatch !== undefined) throw invalid('If-Match', 'If-Match or If-None-Match, not both');
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*') throw invalid('If-None-Match', '* (an insert knows no other)');
    return null;
  }
  if (match === undefined) return undefined;
  const tags = entityTags(match, 'If-Match');
  return tags === '*' ? '*' : tags.filter((tag) => !tag.weak && RECORD_ID.test(tag.text)).map((tag) => tag.text);
}

/** Whether If-None-Match of a read names this version (weak tags do, as RFC 9110 compares them here). */
export function isNotModified(req: IncomingMessage, id: string): boolean {
  const header = req.headers['if-none-match'];
  if (header === undefined) return false;
  const tags = entityTags(header, 'If-None-Match');
  return tags === '*' || tags.some((tag) => tag.text === id);
}

export function readRefs(req: IncomingMessage): readonly string[] | undefined {
  const header = req.headers['varve-refs'];
  if (header === undefined) return undefined;
  return String(header)
    .split(',')
    .map((part, index) => {
      const id = part.trim();
      if (!RECORD_ID.test(id)) throw invalid(`Varve-Refs[${index}]`, 'a record id: 16 lowercase hex digits');
      return id;
    });
}

export function checkIdempotencyKey(key: string, path: string): string {
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) throw invalid(path, '1 to 255 visible ASCII characters');
  return key;
}

/** `time` and `idempotencyKey` from their headers. */
export function readInsertOptions(req: IncomingMessage): InsertOptions {
  const time = req.headers['varve-time'];
  const key = req.headers['idempotency-key'];
  const options: InsertOptions = {};
  if (time !== undefined) options.time = String(time);
  if (key !== undefined) options.idempotencyKey = checkIdempotencyKey(String(key), 'Idempotency-Key');
  return options;
}

/** Headers that mean something elsewhere and would silently do nothing here. */
export function refuseHeaders(req: IncomingMessage, names: readonly string[], instead: string): void {
  for (const name of names) {
    if (req.headers[name.toLowerCase()] !== undefined) throw invalid(name, instead, `${name} has no meaning here: ${instead}`);
  }
}

/** Which of `available` is wanted most; the first where all are equal. 406 where none will do. */
export function negotiate(req: IncomingMessage, available: readonly [string, ...string[]]): string {
  const header = req.headers.accept;
  if (header === undefined) return available[0];
  let best: string | undefined;
  let bestQuality = 0;
  for (const type of available) {
    const quality = qualityOf(header, type);
    if (quality > bestQuality) [best, bestQuality] = [type, quality];
  }
  if (best === undefined) throw new Problem('not-acceptable', `Available here: ${available.join(', ')}.`, { available });
  return best;
}

/** The quality the most specific matching range gives `type`, from 0 to 1. */
function qualityOf(accept: string, type: string): number {
  const family = `${type.slice(0, type.indexOf('/'))}/*`;
  let specificity = -1;
  let quality = 0;
  for (const part of accept.split(',')) {
    const [range = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    const rank = range === type ? 2 : range === family ? 1 : range === '*/*' ? 0 : -1;
    if (rank <= specificity) continue;
    specificity = rank;
    const q = parameters.find((parameter) => parameter.startsWith('q='));
    quality = q === undefined ? 1 : Number(q.slice(2)) || 0;
  }
  return quality;
}
