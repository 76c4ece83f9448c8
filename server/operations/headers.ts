/**
 * Every header that an operation reads or writes, described once.
 */
import { z } from 'zod';
import { hashText, recordIdText, timeText } from '../schemas.js';

const text = (description: string, example?: string) => z.string().meta({ description, ...(example === undefined ? {} : { example }) });
const entityTag = z.string().regex(/^"[0-9a-f]{16}"$/);

export const REQUEST_HEADERS = {
  'If-Match': text(
    'The version that the insert must supersede: its ETag, several of which any will do, or `*` where there must be one. A weak tag never matches.',
    '"0001000000000a3f"',
  ),
  'If-None-Match': text('For an insert `*`: the entity must not exist. For a read an ETag: 304 where it is still the one.', '*'),
  'Varve-Refs': text(
    'Ids of earlier records of the same shard that this version refers to, with commas between.',
    '0001000000000a3f, 00010000000009c1',
  ),
  'Varve-Time': text(
    'The time of the batch, for loading history: later than the newest of the shard and not in the future.',
    '2019-03-01T12:00:00Z',
  ),
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/)
    .meta({
      description: 'Sent again within a day with the same content, it brings the first answer again, with `Idempotent-Replay: true`.',
      example: '4f1c7d0e-order-17',
    }),
  'Accept-Datetime': text('As `asOf`, to the second (RFC 7089).', 'Sat, 21 Nov 2026 08:00:00 GMT'),
  'Last-Event-ID': text('The `id:` of the last event that was seen: the feed goes on behind it. `after` says the same.'),
  'Varve-Min-Id': text(
    'Ids, with commas between: the answer comes from a copy that holds them, or is 503 `behind`. To read what was just written.',
    '0001000000000a3f',
  ),
  Range: text('One range of bytes.', 'bytes=4096-'),
} as const satisfies Record<string, z.ZodType>;
export type RequestHeader = keyof typeof REQUEST_HEADERS;

export const RESPONSE_HEADERS = {
  ETag: entityTag.meta({ description: 'The id of the version, in quotes.', example: '"0001000000000a3f"' }),
  Location: text('Where the thing that came into being is.', '/v1/records/0001000000000a3f'),
  'Content-Location': text('Where this very version is, for good.', '/v1/records/0001000000000a3f'),
  'Idempotent-Replay': z.literal('true').meta({ description: 'The answer to an earlier request with this idempotency key.' }),
  Vary: text('Which request headers the answer depends on.', 'Accept-Datetime'),
  'Memento-Datetime': text('When the version came into being (RFC 7089).', 'Sat, 21 Nov 2026 08:00:00 GMT'),
  Link: text('The entity as of any moment, and its history (RFC 7089).'),
  'Varve-Id': recordIdText,
  'Varve-Shard': z.string().regex(/^\d+$/).meta({ description: 'The shard of the record.' }),
  'Varve-Seq': z.string().regex(/^\d+$/).meta({ description: 'Its seq there.' }),
  'Varve-Time': timeText,
  'Varve-Hash': hashText,
  'Varve-Supersedes': recordIdText,
  'Varve-From': recordIdText,
  'Varve-To': recordIdText,
  'Varve-Refs': text('Ids of the records that this version refers to.'),
  'Varve-Request-Id': z
    .string()
    .regex(/^[0-9a-z]+-[0-9a-z]+$/)
    .meta({ description: 'The request, as the log of the server names it.', example: '6f1c2a90-3k' }),
  'Retry-After': z.string().regex(/^\d+$/).meta({ description: 'Seconds to wait before the next attempt.', example: '1' }),
  'WWW-Authenticate': text('How to authenticate (RFC 6750).', 'Bearer realm="varve"'),
  Allow: text('The methods of this path.', 'GET, HEAD, OPTIONS'),
  'Accept-Encoding': z.literal('identity').meta({ description: 'The encodings of request bodies that are taken.' }),
  'Accept-Ranges': z.literal('bytes'),
  'Content-Range': text('Which bytes of how many.', 'bytes 4096-8191/8192'),
  'Content-Security-Policy': text('Nothing is loaded from elsewhere.'),
  'Varve-Node': z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .meta({ description: 'The node that answers.' }),
  'Varve-Database': z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .meta({ description: 'The database, the same on every copy.' }),
  Connection: text('`close` where the connection ends with this answer.'),
} as const satisfies Record<string, z.ZodType>;
export type ResponseHeader = keyof typeof RESPONSE_HEADERS;
