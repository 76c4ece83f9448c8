/**
 * Time negotiation of RFC 7089: `Accept-Datetime` asks as `asOf` does, and the answer says which moment it got. Unlike the RFC's habit a
 * moment out of range is refused, not moved to the nearest one.
 */
import type { IncomingMessage } from 'node:http';
import type { VersionRecord } from '../engine/index.js';
import type { Headers } from './answers.js';
import { invalid } from './problem.js';

/** The one form HTTP dates are written in: `Sun, 06 Nov 1994 08:49:37 GMT`. */
const HTTP_DATE =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** The header as a point in time, or undefined. */
export function acceptedDatetime(req: IncomingMessage): string | undefined {
  const header = req.headers['accept-datetime'];
  if (header === undefined) return undefined;
  const date = new Date(HTTP_DATE.test(String(header)) ? String(header) : Number.NaN);
  // A date that does not exist (31 Feb), or a wrong day of the week, reads back differently.
  if (Number.isNaN(date.getTime()) || date.toUTCString() !== header)
    throw invalid('Accept-Datetime', 'an HTTP date such as Sun, 06 Nov 1994 08:49:37 GMT');
  return date.toISOString();
}

/** What a version read as of a moment says of it. `path` is the entity's. */
export function mementoHeaders(record: VersionRecord, path: string): Headers {
  return {
    'Memento-Datetime': new Date(record.time).toUTCString(),
    Link: `<${path}>; rel="original timegate", <${path}/history>; rel="timemap"; type="application/json"`,
  };
}
