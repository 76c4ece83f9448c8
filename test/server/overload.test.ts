/** Floods, slow readers, and who pays for them. */
import { EventEmitter, once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Access, DEFAULT_LIMITS, type Limits } from '../../server/index.js';
import { createLogger } from '../../server/logging.js';
import { Admission, enterStream } from '../../server/overload.js';
import type { Problem } from '../../server/problem.js';
import { SlowReaders } from '../../server/slow-readers.js';
import { memoryLog, token } from './doors-support.js';
import { TestServer } from './support.js';

const ENTITY = '/v1/collections/c/entities/k';
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const limitsWith = (limits: Partial<Limits>): Limits => ({ ...DEFAULT_LIMITS, ...limits });

interface Ask {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}
const ask = (): Ask => {
  const res = Object.assign(new EventEmitter(), { destroyed: false, closed: false, writableEnded: false });
  return { req: {} as IncomingMessage, res: res as unknown as ServerResponse };
};

class Gate {
  readonly handled: ServerResponse[] = [];
  readonly refused: Problem[] = [];
  readonly admission: Admission;
  /** Stands still unless moved. */
  ms = 0;

  constructor(limits: Partial<Limits>) {
    this.admission = new Admission(
      limitsWith(limits),
      (_req, res) => this.handled.push(res),
      (_req, _res, problem) => this.refused.push(problem),
      () => this.ms,
    );
  }

  /** What was asked, and whether it was let in at once. */
  send(client: ReturnType<Admission['join']>): Ask & { now: boolean } {
    const one = ask();
    return { ...one, now: this.admission.admit(client, one.req, one.res) };
  }
}

describe('admission', () => {
  it('lets one client alone do as much as it may, without waiting for turns', () => {
    const gate = new Gate({ activePerClient: 100 });
    const client = gate.admission.join('a');
    const now = Array.from({ length: 150 }, () => gate.send(client).now);
    expect(now.filter(Boolean)).toHaveLength(100);
    expect(gate.admission.figures).toMatchObject({ active: 100, waiting: 50 });
  });

  it('gives each of several clients a share of a turn, and the rest of a flood waits', async () => {
    const gate = new Gate({ activePerClient: 1000 });
    const [flood, quiet] = [gate.admission.join('flood'), gate.admission.join('quiet')];
    const first = Array.from({ length: 100 }, () => gate.send(flood).now).filter(Boolean).length;
    expect(first).toBeLessThan(20);
    expect(gate.send(quiet).now).toBe(true);
    while (gate.handled.length === 0) await turn();
    expect(gate.handled.length).toBeLessThan(20);
    // While some of it waits, what comes later waits behind it, and the quiet one still does not.
    expect(gate.send(flood).now).toBe(false);
    expect(gate.send(quiet).now).toBe(true);
    while (gate.admission.figures.waiting > 0) await turn();
    expect(gate.handled).toHaveLength(101 - first);
  });

  it('counts the time that handling takes as well, whatever the number', async () => {
    const gate = new Gate({ activePerClient: 1000 });
    const [heavy] = [gate.admission.join('heavy'), gate.admission.join('other')];
    expect(gate.send(heavy).now).toBe(true);
    gate.ms += 50;
    expect(gate.send(heavy).now).toBe(false);
    expect(gate.send(heavy).now).toBe(false);
    // One is served each turn however heavy it is.
    while (gate.handled.length < 2) await turn();
    expect(gate.admission.figures.waiting).toBe(0);
  });

  it('serves what waits in order, round robin between clients', async () => {
    const gate = new Gate({ activePerClient: 1 });
    const clients = ['a', 'b', 'c'].map((name) => gate.admission.join(name));
    const sent = new Map<ServerResponse, string>();
    const open: ServerResponse[] = [];
    for (const client of clients)
      for (let n = 0; n < 4; n++) {
        const { res, now } = gate.send(client);
        if (now) open.push(res);
        else sent.set(res, `${client.name}${n}`);
      }
    expect(open).toHaveLength(3);
    while (gate.admission.figures.active + gate.admission.figures.waiting > 0) {
      for (const res of open.splice(0)) gate.admission.done(res);
      const before = gate.handled.length;
      await turn();
      open.push(...gate.handled.slice(before));
    }
    const order = gate.handled.map((res) => sent.get(res) ?? '');
    for (const name of ['a', 'b', 'c']) expect(order.filter((text) => text.startsWith(name))).toEqual([`${name}1`, `${name}2`, `${name}3`]);
    for (const n of [0, 3, 6]) expect(new Set(order.slice(n, n + 3).map((text) => text[0])).size).toBe(3);
  });

  it('sends away what is too much: 429 for one client, 503 for all together, both with Retry-After', () => {
    const gate = new Gate({ activePerClient: 1, queuePerClient: 3, queueRequests: 5 });
    const [a, b] = [gate.admission.join('a'), gate.admission.join('b')];
    for (let n = 0; n < 4; n++) gate.send(a);
    expect(() => gate.send(a)).toThrow(expect.objectContaining({ status: 429, headers: { 'Retry-After': '1' } }));
    for (let n = 0; n < 3; n++) gate.send(b);
    expect(() => gate.send(b)).toThrow(expect.objectContaining({ status: 503, headers: { 'Retry-After': '1' } }));
    expect(gate.admission.figures).toMatchObject({ active: 2, waiting: 5 });
  });

  it('sends away what has waited too long, and forgets who has left', () => {
    const gate = new Gate({ activePerClient: 1, queueTimeoutMs: 1000 });
    const client = gate.admission.join('a');
    gate.send(client);
    const left = gate.send(client);
    gate.send(client);
    Object.assign(left.res, { destroyed: true });
    gate.admission.expire(500);
    expect(gate.admission.figures.waiting).toBe(1);
    gate.admission.expire(1500);
    expect(gate.refused).toMatchObject([{ slug: 'overloaded' }]);
    expect(gate.admission.figures).toMatchObject({ active: 1, waiting: 0 });
  });

  it('counts streams apart, under caps of their own, and gives everything back once', () => {
    const gate = new Gate({ activePerClient: 2, maxStreamsPerClient: 2, maxStreams: 3 });
    const [a, b] = [gate.admission.join('a'), gate.admission.join('b')];
    const streams = [a, a, b].map((client) => {
      const { res } = gate.send(client);
      enterStream(res);
      enterStream(res);
      return res;
    });
    expect(gate.admission.figures).toMatchObject({ active: 0, streams: 3 });
    expect(() => enterStream(gate.send(a).res)).toThrow(expect.objectContaining({ status: 429 }));
    const one = gate.send(b).res;
    expect(() => enterStream(one)).toThrow(expect.objectContaining({ status: 503 }));
    for (const res of [...streams, ...streams]) gate.admission.done(res);
    enterStream(one);
    gate.admission.done(one);
    gate.admission.done(one);
    expect(gate.admission.figures).toMatchObject({ active: 1, streams: 0, clients: 2 });
    gate.admission.leave(a);
    gate.admission.leave(b);
    expect(gate.admission.figures.clients).toBe(0);
  });
});

describe('slow readers', () => {
  interface Unread {
    writableLength: number;
    cut: boolean;
    client: string;
  }
  const answer = (client: string, writableLength: number): Unread & ServerResponse => {
    const one = { writableLength, cut: false, client, destroyed: false, socket: null };
    const destroy = () => Object.assign(one, { cut: true, destroyed: true });
    return Object.assign(one, { req: { socket: { destroy } } }) as unknown as Unread & ServerResponse;
  };
  const readers = (limits: Partial<Limits>) =>
    new SlowReaders(limitsWith(limits), createLogger('silent'), (res) => (res as unknown as Unread).client);

  it('are cut when nothing of what they asked for has moved for too long', () => {
    const slow = readers({ readTimeoutMs: 1000, minReadBytesPerSecond: 1000 });
    const [stuck, moving, growing] = [answer('a', 1000), answer('b', 1000), answer('c', 1000)];
    const all = [stuck, moving, growing];
    for (let now = 0; now <= 1900; now += 100) {
      slow.look(all, now);
      moving.writableLength -= 10;
      growing.writableLength += 50;
      expect(all.map(({ cut }) => cut)).toEqual([false, false, false]);
    }
    for (let now = 2000; now <= 2200; now += 100) slow.look(all, now);
    expect(all.map(({ cut }) => cut)).toEqual([true, false, false]);
    // More bytes are more time, but only so much: it never reads.
    for (let now = 2300; now <= 6000; now += 100) {
      slow.look(all, now);
      moving.writableLength -= 10;
    }
    expect(growing.cut).toBe(true);
    expect(moving.cut).toBe(false);
  });

  it('lose their largest answers, the greediest client first, while all together are over the budget', () => {
    const slow = readers({ answerMemoryBytes: 1000 });
    const greedy = [500, 400, 300].map((bytes) => answer('greedy', bytes));
    const modest = [450, 20].map((bytes) => answer('modest', bytes));
    slow.look([...modest, ...greedy], 0);
    expect(greedy.map(({ cut }) => cut)).toEqual([true, true, false]);
    expect(modest.map(({ cut }) => cut)).toEqual([false, false]);
    expect(slow.unreadBytes).toBe(450 + 20 + 300);
  });
});

/** A connection that sends and never reads. */
async function deaf(port: number, text: string, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  socket.pause();
  await once(socket, 'connect');
  socket.write(text, 'latin1');
  return socket;
}

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;

describe('a server under a flood', () => {
  it('answers a quiet client long before the flood of another is worked off', async () => {
    const [flooder, quiet] = [token('read'), token('read')];
    const s = await TestServer.start({ server: { access: new Access([flooder.record, quiet.record]) } });
    for (let n = 0; n < 300; n++) await s.db.put('c', `k${n}`, 'x'.repeat(200));
    const path = '/v1/collections/c/entities?limit=300';
    expect((await s.get(path, quiet.headers)).status).toBe(200);
    const one = get(path, `Authorization: ${flooder.headers.Authorization}\r\n`);
    const sockets = await Promise.all(Array.from({ length: 20 }, () => deaf(s.port, '')));
    while (s.server.figures.connections < 21) await turn();
    for (const socket of sockets) socket.resume().write(one.repeat(50));
    while (s.server.figures.waiting === 0) await turn();
    expect((await s.get('/v1/collections/c/entities/k1', quiet.headers)).status).toBe(200);
    expect(s.server.figures.waiting).toBeGreaterThan(500);
    for (const socket of sockets) socket.destroy();
    await s.stop();
  });

  it('tells one client of many addresses apart from another', async () => {
    const s = await TestServer.start({ limits: { activePerClient: 1, queuePerClient: 2 } });
    // A body that does not come keeps the one place of 127.0.0.2 occupied.
    const put = `PUT ${ENTITY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n`;
    const busy = await deaf(s.port, put, '127.0.0.2');
    while (s.server.figures.active < 1) await turn();
    const waiting = [await deaf(s.port, get('/livez'), '127.0.0.2'), await deaf(s.port, get('/livez'), '127.0.0.2')];
    while (s.server.figures.waiting < 2) await turn();
    const last = await deaf(s.port, get('/livez'), '127.0.0.2');
    last.resume();
    const [chunk] = (await once(last, 'data')) as [Buffer];
    expect(chunk.toString()).toMatch(/^HTTP\/1\.1 429 .*Retry-After: 1.*urn:varve:too-many-requests/s);
    expect((await s.get('/livez')).status).toBe(200);
    for (const socket of [busy, ...waiting, last]) socket.destroy();
    while (s.server.figures.active + s.server.figures.waiting > 0) {
      await s.get('/livez', { Connection: 'close' });
      await turn();
    }
    await s.stop();
  });

  it('answers no more than so many requests of one connection at a time', async () => {
    const s = await TestServer.start({ limits: { pipelinedRequests: 8 } });
    const answers = await s.raw(get('/v1/collections').repeat(50));
    expect(answers.match(/HTTP\/1\.1 200/g)?.length).toBe(8);
    expect(answers).toMatch(/HTTP\/1\.1 429/);
    expect(s.server.figures.active).toBe(0);
    await s.stop();
  });

  it('gives everything back when a connection goes with answers behind answers', async () => {
    const s = await TestServer.start();
    const put = `PUT ${ENTITY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1`;
    const socket = await deaf(s.port, put.repeat(40));
    while (s.db.now().get('c', 'k') === undefined) await turn();
    socket.destroy();
    while (s.server.figures.active > 0 || s.server.figures.connections > 0) await turn();
    expect(s.server.figures).toMatchObject({ active: 0, waiting: 0, clients: 0 });
    await s.stop();
  });

  it('bounds connections of one address, where it is told to', async () => {
    const s = await TestServer.start({ limits: { maxConnectionsPerAddress: 2 } });
    const sockets = [await deaf(s.port, '', '127.0.0.2'), await deaf(s.port, '', '127.0.0.2')];
    const third = connect({ port: s.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
    const [chunk] = (await once(third, 'data')) as [Buffer];
    expect(chunk.toString()).toMatch(/^HTTP\/1\.1 429 Too Many Requests.*Retry-After/s);
    expect((await s.get('/livez')).status).toBe(200);
    for (const socket of [...sockets, third]) socket.destroy();
    await s.stop();
  });

  it('refuses a body where none belongs, so that nobody can send one for ever', async () => {
    const s = await TestServer.start();
    for (const method of ['GET', 'DELETE', 'HEAD']) {
      const head = `${method} ${ENTITY} HTTP/1.1\r\nHost: localhost\r\n`;
      expect(await s.raw(`${head}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n`), method).toMatch(/^HTTP\/1\.1 400 .*Connection: close/s);
      expect(await s.raw(`${head}Content-Length: 5\r\n\r\n`), method).toMatch(/^HTTP\/1\.1 400/);
    }
    expect((await s.get('/livez', { 'Content-Length': '0' })).status).toBe(200);
    await s.stop();
  });

  it('bounds the streams of one client and of all', async () => {
    const s = await TestServer.start({ limits: { maxStreamsPerClient: 2, maxStreams: 3 } });
    const stream =
      'POST /v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n';
    const open = [await deaf(s.port, stream), await deaf(s.port, stream)];
    while (s.server.figures.streams < 2) await turn();
    expect((await s.lines('{}\n')).status).toBe(429);
    open.push(await deaf(s.port, stream, '127.0.0.2'));
    while (s.server.figures.streams < 3) await turn();
    const fourth = await deaf(s.port, stream, '127.0.0.3');
    fourth.resume();
    expect(String(((await once(fourth, 'data')) as [Buffer])[0])).toMatch(/^HTTP\/1\.1 503 .*Retry-After/s);
    for (const socket of [...open, fourth]) socket.destroy();
    while (s.server.figures.streams > 0) await turn();
    await s.stop();
  });
});

describe('streams of inserts that stand still', () => {
  it('leave memory for the bodies of others', async () => {
    const s = await TestServer.start({ limits: { bodyMemoryBytes: 8_000_000, lineBytesInFlight: 1_000_000, maxLineBytes: 1_000_000 } });
    const stream =
      'POST /v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n';
    const open = await Promise.all(Array.from({ length: 6 }, () => deaf(s.port, stream, '127.0.0.2')));
    while (s.server.figures.streams < 3) await turn();
    const over = await deaf(s.port, stream, '127.0.0.2');
    over.resume();
    expect(String(((await once(over, 'data')) as [Buffer])[0])).toMatch(/^HTTP\/1\.1 429 /);
    expect(s.server.figures.streams).toBe(3);
    expect((await s.put('k', 'x'.repeat(500_000))).status).toBe(201);
    for (const socket of [...open, over]) socket.destroy();
    while (s.server.figures.streams > 0) await turn();
    expect((await s.lines('{"collection":"c","key":"k","body":1}\n')).status).toBe(200);
    await s.stop();
  });
});

describe('many readers that do not read', () => {
  it('cost a bounded amount of memory, and nobody who reads is cut off', async () => {
    const budget = 4 * 1024 * 1024;
    const log = memoryLog('warn');
    const s = await TestServer.start({
      limits: { answerMemoryBytes: budget, answerBufferBytes: 256 * 1024 },
      server: { logger: log.logger },
    });
    const body = 'x'.repeat(100_000);
    for (let n = 0; n < 200; n++) await s.db.put('c', `k${n}`, body);
    const path = '/v1/collections/c/entities';
    globalThis.gc?.();
    const before = process.memoryUsage().rss;
    let highest = 0;
    const sockets = await Promise.all(
      Array.from({ length: 80 }, () => deaf(s.port, get(path, 'Accept: application/x-ndjson\r\n'), '127.0.0.2')),
    );
    while (!log.text().includes('too many bytes wait')) {
      highest = Math.max(highest, s.server.figures.unreadBytes);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const reply = await s.get(path, { Accept: 'application/x-ndjson' });
    expect(reply.text.endsWith('{"done":true,"count":200}\n')).toBe(true);
    // 80 answers of 20 MB each were asked for; each connection's own buffer is all that was ever made of them.
    expect(process.memoryUsage().rss - before).toBeLessThan(80 * 4 * 1024 * 1024);
    expect(s.server.figures.unreadBytes).toBeLessThanOrEqual(budget * 2);
    for (const socket of sockets) socket.destroy();
    await s.stop();
  });
});
