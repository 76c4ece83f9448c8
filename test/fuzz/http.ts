/** A real server and raw bytes: whatever comes in, each connection gets whole answers under 500 or is closed, and the server lives. */
import { once } from 'node:events';
import { connect } from 'node:net';
import fc from 'fast-check';
import { expect } from 'vitest';
import { linesOf, TestServer } from '../server/support.js';
import { mutated } from './mutations.js';
import type { Target } from './target.js';

const ID = '0001000000000001';
const E = '/v1/collections/c/entities';
const json = (method: string, path: string, body: string, headers = '') =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`;
const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;

const REQUESTS = [
  get('/livez'),
  get('/readyz?verbose'),
  get(`${E}/k`, `If-None-Match: "${ID}"\r\nAccept-Datetime: Sat, 21 Nov 2026 08:00:00 GMT\r\n`),
  get(`${E}/k?asOf=2026-11-21T08:00:00Z&view=body`),
  get(`${E}/k/history?order=asc&limit=2&from=${ID}`),
  get(`${E}/k/diff?from=${ID}&to=${ID}`),
  get(`${E}?prefix=k&after=a&limit=3&bodies=false`),
  get(E, 'Accept: application/x-ndjson\r\n'),
  get(`${E}/a%2Fb%00`),
  get('/v1/collections'),
  get(`/v1/records/${ID}/proof`),
  get('/v1/shards/1/root?seq=1'),
  get('/v1/jobs'),
  get('/metrics'),
  get('/openapi.json'),
  json('PUT', `${E}/k`, '{"a":[1,2,{"b":null}]}', `If-Match: "${ID}"\r\nVarve-Refs: ${ID}\r\nIdempotency-Key: x\r\n`),
  json('PUT', '/v1/collections/d', '{"placement":"group:g"}'),
  json(
    'POST',
    '/v1/records',
    '{"time":"2026-11-21T08:00:00Z","records":[{"collection":"c","key":"k","body":1,"refs":["#0"],"expect":null}]}',
  ),
  json('POST', '/v1/records', '{"collection":"c","key":"k","body":1}\n{"collection":"c","key":"l","deleted":true}\n').replace(
    '/json',
    '/x-ndjson',
  ),
  json('PUT', '/v1/collections/c/retention', '{"keep":"last","versions":5}'),
  json('POST', '/v1/compactions', '{"shard":1}'),
  `DELETE ${E}/k HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  `PUT ${E}/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n`,
  `OPTIONS ${E}/k HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n`,
];

const FEEDS = [
  get('/v1/changes?live=false'),
  get(`/v1/changes?live=false&shard=1&collection=c&after=${ID}`),
  get('/v1/changes?live=false', `Accept: text/event-stream\r\nLast-Event-ID: ${ID}\r\n`),
  get(`/v1/diff?from=${ID}&to=2026-11-21T08:00:00Z&collection=c`),
  get('/v1/jobs/x', 'Accept: text/event-stream\r\n'),
];

/** Everything the server says until it closes, or until what was sent has had its time. */
async function converse(port: number, bytes: Uint8Array): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {});
  // Our end is closed behind the request: what is cut short ends there instead of waiting.
  socket.end(bytes);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

function server(name: string, about: string, requests: readonly string[]): Target {
  return {
    name,
    about,
    async open() {
      const s = await TestServer.start({ limits: { bodyTimeoutMs: 500, headersTimeoutMs: 500, idleTimeoutMs: 500 } });
      await s.db.put('c', 'k', { a: 1 });
      const samples = requests.map((text) => Buffer.from(text));
      const property = fc.asyncProperty(fc.array(mutated(samples), { minLength: 1, maxLength: 3 }), async (parts) => {
        const answers = await converse(s.port, Buffer.concat(parts));
        expect(answers).not.toMatch(/^HTTP\/1\.1 5(?!03)/m);
        // In a line of a stream, too.
        expect(answers).not.toMatch(/"type":"urn:varve:(?:internal|corrupt)","title":"[^"]*","status":500/);
        expect(answers === '' || answers.startsWith('HTTP/1.1 ')).toBe(true);
        expect((await s.get('/livez')).status).toBe(200);
        expect(s.server.phase).toBe('ready');
      });
      return {
        property: property as never,
        async close() {
          // What went in can be read back, all of it.
          const listed = linesOf(await s.get(E, { Accept: 'application/x-ndjson' }));
          expect(listed.at(-1)).toMatchObject({ done: true });
          await s.stop();
        },
      };
    },
  };
}

export const http: Target = server('http', 'requests of every kind, one to three on a connection', REQUESTS);
export const feed: Target = server('feed', 'feeds, differences and followed jobs', FEEDS);
