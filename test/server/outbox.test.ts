/** Answers of one connection: in the order of its requests, together where they are ready together. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Answer, hasLeft, openOutbox, unsentBytes } from '../../server/outbox.js';
import { TestServer } from './support.js';

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each();
});

/** Everything that comes back until the server ends the connection. */
async function askRaw(port: number, text: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' });
  let all = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (all += chunk));
  socket.write(text);
  await once(socket, 'close');
  return all;
}

function request(method: string, target: string, headers = '', body = ''): string {
  const length = body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
  return `${method} ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}${length}\r\n${body}`;
}

const LAST = 'Connection: close\r\n';

/** Status and body of each answer. */
function answersOf(text: string, methods: readonly string[]): { status: number; head: string; body: string }[] {
  const answers: { status: number; head: string; body: string }[] = [];
  let at = 0;
  for (const method of methods) {
    const end = text.indexOf('\r\n\r\n', at) + 4;
    const head = text.slice(at, end);
    const status = Number(head.slice(9, 12));
    const length = method === 'HEAD' || status === 304 ? 0 : Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1]);
    answers.push({ status, head, body: text.slice(end, end + length) });
    at = end + length;
  }
  expect(text.length).toBe(at);
  return answers;
}

describe('pipelined requests', () => {
  async function serve(): Promise<TestServer> {
    const s = await TestServer.start();
    undo.push(() => s.stop());
    for (const key of ['a', 'b', 'ü']) await s.ask('PUT', `/v1/collections/c/entities/${encodeURIComponent(key)}`, { body: { key } });
    return s;
  }

  it('are answered in their order, whatever is whole at once, late, long, refused or without a body', async () => {
    const s = await serve();
    const long = 'x'.repeat(100_000);
    const steps: [string, string, string?, string?][] = [
      ['GET', '/v1/collections/c/entities/a'],
      ['GET', '/v1/collections/c/entities/%C3%BC'],
      ['PUT', '/v1/collections/c/entities/d', '', '{"n":1}'],
      ['GET', '/v1/collections/c/entities/b'],
      ['GET', '/v1/collections/c/entities/none'],
      ['GET', '/v1/collections/c/entities/a?asOf=2200-01-01T00:00:00Z'],
      ['HEAD', '/v1/collections/c/entities/a'],
      ['GET', '/v1/collections/c/entities/a?view=body'],
      ['PUT', '/v1/collections/c/entities/long', '', `{"text":"${long}"}`],
      ['PUT', '/v1/collections/c/entities/e', 'Expect: 100-continue\r\n', '{"n":2}'],
      ['GET', '/v1/collections/c/entities/b', 'If-None-Match: *\r\n'],
      ['GET', '/v1/collections/c/entities'],
      ['PUT', '/v1/collections/c/entities/f', '', '{"n":3}'],
      ['GET', '/v1/collections/c/entities/a'],
      ['GET', '/v1/collections/c/entities/b', LAST],
    ];
    const text = await askRaw(s.port, steps.map(([method, path, headers, body]) => request(method, path, headers, body)).join(''));
    const answers = answersOf(
      text.replace('HTTP/1.1 100 Continue\r\n\r\n', ''),
      steps.map(([method]) => method),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 201, 200, 404, 400, 200, 200, 201, 201, 304, 200, 201, 200, 200]);
    const bodies = answers.map(({ body }) => (body === '' ? undefined : JSON.parse(Buffer.from(body, 'latin1').toString())));
    const keys = bodies.map((body) => body?.key);
    expect(keys).toEqual(['a', 'ü', 'd', 'b', 'none', undefined, undefined, 'a', 'long', 'e', undefined, undefined, 'f', 'a', 'b']);
    const newest = await s.get('/v1/collections/c/entities/long');
    expect(newest.json.body.text).toBe(long);
  });

  it('carry the same headers in a whole answer as in any other', async () => {
    const s = await serve();
    const text = await askRaw(
      s.port,
      request('GET', '/v1/collections/c/entities/a') + request('GET', '/v1/collections/c/entities/a', LAST),
    );
    const [whole, nodes] = answersOf(text, ['GET', 'GET']).map(({ head }) => head.replace(/\r\nDate: [^\r]+ GMT\r\n/, '\r\nDate: …\r\n'));
    expect(whole).toContain('\r\nDate: …\r\nConnection: keep-alive\r\nKeep-Alive: timeout=30\r\n\r\n');
    expect(whole?.replace(/Connection: keep-alive\r\nKeep-Alive: timeout=30/, 'Connection: close')).toBe(nodes);
  });

  it('that insert go to the disk together', async () => {
    const s = await serve();
    const groups = () => s.db.stats().shards[0]!.groups.count;
    const before = groups();
    const puts = Array.from({ length: 8 }, (_, n) => request('PUT', `/v1/collections/c/entities/${n}`, n === 7 ? LAST : '', `{"n":${n}}`));
    const text = await askRaw(s.port, puts.join(''));
    expect(answersOf(text, puts).map(({ status }) => status)).toEqual(puts.map(() => 201));
    expect(groups() - before).toBe(1);
  });

  it('are answered up to what is no HTTP', async () => {
    const s = await serve();
    const text = await askRaw(s.port, `${request('GET', '/v1/collections/c/entities/a')}what is this\r\n\r\n`);
    expect(answersOf(text, ['GET', '?']).map(({ status }) => status)).toEqual([200, 400]);
  });

  it('have all left, or are told of as cut, when the server closes', async () => {
    const s = await serve();
    const socket = connect({ port: s.port, host: '127.0.0.1' });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.write(
      request('PUT', '/v1/collections/c/entities/a', '', '{"n":1}') + request('PUT', '/v1/collections/c/entities/a', '', '{"n":2}'),
    );
    await once(socket, 'data');
    await s.server.close();
    const methods = Array.from({ length: text.split('HTTP/1.1 ').length - 1 }, () => 'PUT');
    expect(answersOf(text, methods).map(({ status }) => status)).toEqual(methods.map(() => 201));
  });
});

describe('an outbox', () => {
  const HEAD = 'HTTP/1.1 200 OK\r\n';
  const whole = (res: Answer, body: string) => res.sendWhole(200, `${HEAD}Content-Length: ${body.length}\r\n`, body);

  async function serve(handle: (res: Answer, target: string) => void): Promise<{ port: number }> {
    const server = createServer({ ServerResponse: Answer }, (req, res) => {
      openOutbox(req.socket, 0);
      handle(res, req.url ?? '');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    undo.push(async () => {
      server.closeAllConnections();
      server.close();
    });
    return { port: (server.address() as AddressInfo).port };
  }

  it('writes what is ready at once in one piece, and waits for what is not', async () => {
    const late: Answer[] = [];
    const written: string[] = [];
    const { port } = await serve((res, target) => {
      if (target === '/0') {
        const { socket } = res.req;
        const write = socket.write.bind(socket);
        socket.write = ((...args: Parameters<typeof write>) => {
          written.push(String(args[0]));
          return write(...args);
        }) as typeof socket.write;
      }
      if (target === '/3') late.push(res);
      else if (target === '/last') res.writeHead(200, { Connection: 'close', 'Content-Length': 1 }).end('l');
      else whole(res, target.slice(1));
      // All of them are here: what was late is answered now.
      if (target === '/last') setImmediate(() => whole(late[0]!, '3'));
    });
    const targets = ['/0', '/1', '/2', '/3', '/4', '/5', '/last'];
    const text = await askRaw(port, targets.map((target) => request('GET', target)).join(''));
    expect(answersOf(text, targets).map(({ body }) => body)).toEqual(['0', '1', '2', '3', '4', '5', 'l']);
    const bodies = written.filter((text) => text.includes('keep-alive')).map((text) => text.match(/\d(?=HTTP|$)/g));
    expect(bodies).toEqual([
      ['0', '1', '2'],
      ['3', '4', '5'],
    ]);
  });

  it('knows what has not left', async () => {
    const seen: { unsent: number; left: boolean }[] = [];
    const note = (res: Answer) => seen.push({ unsent: unsentBytes(res), left: hasLeft(res) });
    const { port } = await serve((res, target) => {
      if (target === '/last') return void res.writeHead(200, { Connection: 'close', 'Content-Length': 0 }).end();
      whole(res, 'body');
      note(res);
      res.on('finish', () => note(res));
    });
    await askRaw(port, request('GET', '/') + request('GET', '/last'));
    expect(seen).toEqual([
      { unsent: expect.any(Number), left: false },
      { unsent: 0, left: true },
    ]);
    expect(seen[0]!.unsent).toBeGreaterThan(HEAD.length);
  });

  it('is for answers that leave their connection open, and of which nothing has been said', async () => {
    const may: boolean[] = [];
    const { port } = await serve((res, target) => {
      if (target === '/header') res.setHeader('X-Any', '1');
      may.push(res.mayBeWhole);
      res.end();
      may.push(res.mayBeWhole);
    });
    await askRaw(port, request('GET', '/plain') + request('GET', '/header') + request('HEAD', '/') + request('GET', '/', LAST));
    expect(may).toEqual([true, false, false, false, false, false, false, false]);
    await askRaw(port, 'GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n');
    expect(may.slice(8)).toEqual([false, false, false, false]);
  });
});
