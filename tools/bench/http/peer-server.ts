/**
 * A peer's server, in a process of its own: `node`, `express` or `pouchdb`, and a directory. Tells its port to the parent.
 *
 *     GET /db/{key}     the body                      PUT /db/{key}       keeps it
 *     POST /db/_bulk_docs  {"docs":[{"_id",…}]}       POST /stream        NDJSON of {"key","body"}, a line back for each
 *
 * The first two keep bodies in a Map: what HTTP itself costs in Node, and what Express adds. Neither keeps anything safe.
 */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import path from 'node:path';
import express from 'express';
import type { JsonValue } from '../../../engine/index.js';
import { Packages } from '../packages.js';

interface Document {
  readonly _id: string;
  readonly [field: string]: JsonValue;
}

const [kind = '', ...places] = process.argv.slice(2);
const [directory = '', peersDirectory] = places.filter((place) => place !== '').map((place) => path.resolve(place));
const bodies = new Map<string, JsonValue>();
const SERVERS: Readonly<Record<string, () => RequestListener>> = { node: bareNode, express: withExpress, pouchdb: pouchServer };

// What PouchDB leaves where it runs belongs there, too.
process.chdir(directory);
const listener = SERVERS[kind];
if (listener === undefined) throw new Error(`there is no server '${kind}'`);
const server = createServer(listener());
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') process.send?.({ port: address.port });
});
process.on('disconnect', () => process.exit(0));

function bareNode(): RequestListener {
  return (req, res) => {
    const target = req.url ?? '';
    if (req.method === 'GET') return answer(res, 200, bodies.get(keyOf(target)) ?? null);
    if (target === '/stream') return stream(req, res);
    whole(req, (text) => {
      const body = JSON.parse(text) as JsonValue;
      if (req.method === 'POST') return answer(res, 201, keepAll((body as { docs: Document[] }).docs));
      bodies.set(keyOf(target), body);
      answer(res, 201, { ok: true });
    });
  };
}

function withExpress(): RequestListener {
  const app = express();
  const json = express.json({ limit: '10mb' });
  app.get('/db/:key', (req, res) => void res.json(bodies.get(req.params.key)));
  app.put('/db/:key', json, (req, res) => {
    bodies.set(req.params['key'] as string, req.body as JsonValue);
    res.status(201).json({ ok: true });
  });
  app.post('/db/_bulk_docs', json, (req, res) => void res.status(201).json(keepAll((req.body as { docs: Document[] }).docs)));
  app.post('/stream', stream);
  return app;
}

/** What `pouchdb-server` runs, without its log and its console. */
function pouchServer(): RequestListener {
  const packages = new Packages(peersDirectory);
  const PouchDB = packages.require<{ defaults(options: object): unknown }>('pouchdb-node').defaults({ prefix: directory + path.sep });
  const expressPouch = packages.require<(pouch: unknown, options: object) => RequestListener>('express-pouchdb');
  // It wants the Express it was written for.
  const its = packages.requireFrom('express-pouchdb').resolve('express-pouchdb/package.json');
  const itsExpress = new Packages(path.dirname(path.dirname(path.dirname(its)))).require<() => { use(...parts: unknown[]): void }>(
    'express',
  );
  const app = itsExpress();
  app.use('/', expressPouch(PouchDB, { mode: 'minimumForPouchDB', inMemoryConfig: true, logPath: path.join(directory, 'log.txt') }));
  return app as unknown as RequestListener;
}

function keyOf(target: string): string {
  return decodeURIComponent(target.slice(target.indexOf('/', 1) + 1));
}

function keepAll(documents: readonly Document[]): JsonValue {
  return documents.map(({ _id, ...body }) => {
    bodies.set(_id, body);
    return { ok: true, id: _id };
  });
}

function answer(res: ServerResponse, status: number, body: JsonValue): void {
  const text = JSON.stringify(body);
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  res.end(text);
}

function whole(req: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = [];
  req.on('data', (chunk: Buffer) => chunks.push(chunk));
  req.on('end', () => done(Buffer.concat(chunks).toString()));
}

function stream(req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'application/x-ndjson' });
  let rest = '';
  let line = 0;
  req.setEncoding('utf8');
  req.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    let answers = '';
    for (const one of lines) {
      const { key, body } = JSON.parse(one) as { key: string; body: JsonValue };
      bodies.set(key, body);
      answers += `{"line":${++line},"ok":true}\n`;
    }
    res.write(answers);
  });
  req.on('end', () => res.end(`{"done":true,"inserted":${line}}\n`));
}
