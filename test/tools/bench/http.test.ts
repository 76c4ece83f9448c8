/**
 * The load generator: answers are cut out of the stream right, a stall is felt by everyone who would have come meanwhile, slices add up,
 * servers take turns, and one that fails does not take the others along.
 */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Connection, closedLoop, openLoop } from '../../../tools/bench/http/load.js';
import { inTurn, plan, type Step } from '../../../tools/bench/http/plan.js';
import { HttpKindRun, repeatHttp } from '../../../tools/bench/http/run.js';
import { OpenTally, Tally } from '../../../tools/bench/http/tally.js';
import { ResponseReader, request } from '../../../tools/bench/http/wire.js';
import { Workloads } from '../../../tools/bench/http/workloads.js';
import { temporaryDirectory } from '../cli.js';

const servers: { close(): unknown }[] = [];
const root = temporaryDirectory();
afterAll(() => {
  root.remove();
  for (const server of servers) server.close();
});

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe('the reader of answers', () => {
  const stream = Buffer.from(
    'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello' +
      'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n' +
      'HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n' +
      'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n',
  );

  it('cuts pipelined answers apart wherever the stream is cut', () => {
    for (let size = 1; size <= stream.length; size++) {
      const seen: [number, string][] = [];
      const reader = new ResponseReader((status, body) => seen.push([status, body.toString().replaceAll('\r\n', '')]), true);
      for (let at = 0; at < stream.length; at += size) reader.push(stream.subarray(at, at + size));
      expect(seen).toEqual([
        [200, 'hello'],
        [304, ''],
        [201, '{"a":1}'],
        [404, ''],
      ]);
    }
  });
});

describe('the load generator', () => {
  it('keeps so many requests in flight, and counts what failed', async () => {
    let inFlight = 0;
    let most = 0;
    let count = 0;
    const port = await serve((_req, res) => {
      most = Math.max(most, ++inFlight);
      setImmediate(() => {
        inFlight--;
        res.writeHead(++count % 10 === 0 ? 503 : 200).end('{}');
      });
    });
    const figures = await closedLoop(() => request('GET', '/'), { port, connections: 8, depth: 1, ms: 60_000, maxOps: 200 });
    expect(figures).toMatchObject({ ops: 200, failed: 20 });
    expect(most).toBeLessThanOrEqual(8);
    expect(most).toBeGreaterThan(1);
  });

  it('writes what is due together at once, and nothing where nothing is', () => {
    const written: string[] = [];
    const connection = new Connection({ write: (bytes: Buffer) => written.push(bytes.toString()) });
    for (const each of ['a', 'b', 'c']) connection.send(Buffer.from(each), each.charCodeAt(0));
    expect(written).toEqual([]);
    connection.flush();
    connection.flush();
    connection.send(Buffer.from('d'), 100);
    connection.flush();
    expect(written).toEqual(['abc', 'd']);
    expect([connection.answered(), connection.inFlight]).toEqual([97, [98, 99, 100]]);
  });

  it('answers a chunk of answers with one of requests', async () => {
    const chunks: number[] = [];
    const bytes = request('GET', '/');
    const server = createNetServer((socket) => {
      socket.on('data', (chunk) => {
        chunks.push(chunk.length / bytes.length);
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'.repeat(chunk.length / bytes.length));
      });
    }).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    expect(await closedLoop(() => bytes, { port, connections: 1, depth: 4, ms: 60_000, maxOps: 18 })).toMatchObject({ ops: 18, failed: 0 });
    expect(chunks).toEqual([4, 4, 4, 4, 2]);
  });

  it('adds slices to one tally', async () => {
    const port = await serve((_req, res) => res.end('{}'));
    const tally = new Tally();
    const open = new OpenTally(1000);
    for (let slice = 1; slice <= 3; slice++) {
      const closed = await closedLoop(() => request('GET', '/'), { port, connections: 2, depth: 2, ms: 60_000, maxOps: 50 }, tally);
      expect(closed.ops).toBe(50 * slice);
      const due = await openLoop(() => request('GET', '/'), { port, connections: 2, rate: 1000, ms: 20 }, open);
      expect(due).toMatchObject({ ops: 20 * slice, unanswered: 0, rate: 1000 });
    }
  });

  it('asks at a constant rate and counts a stall against every request due meanwhile', async () => {
    const stallMs = 150;
    let asked = 0;
    const port = await serve((_req, res) => {
      if (++asked === 50) for (const end = performance.now() + stallMs; performance.now() < end; );
      res.end('{}');
    });
    const figures = await openLoop(() => request('GET', '/'), { port, connections: 2, rate: 1000, ms: 300 });
    expect(figures).toMatchObject({ ops: 300, failed: 0, unanswered: 0, rate: 1000 });
    expect(asked).toBe(300);
    // A closed loop would have seen two slow requests of three hundred. Here half were due during the stall.
    expect(figures.p90Us).toBeGreaterThan((stallMs / 2) * 1000);
  });

  it('counts what is never answered, too', async () => {
    let asked = 0;
    const port = await serve((_req, res) => {
      if (++asked <= 10) res.end('{}');
    });
    const figures = await openLoop(() => request('GET', '/'), { port, connections: 4, rate: 1000, ms: 20, graceMs: 30 });
    expect(figures).toMatchObject({ ops: 20, unanswered: 10 });
    expect(figures.maxUs).toBeGreaterThan(30_000);
  });

  it('fails where the server hangs up', async () => {
    const port = await serve((req) => req.socket.destroy());
    await expect(closedLoop(() => request('GET', '/'), { port, connections: 1, depth: 1, ms: 60_000 })).rejects.toThrow(
      /closed|ECONNRESET/,
    );
  });
});

describe('a tally', () => {
  it('tells rates of all slices by the time of all, and percentiles of every latency', () => {
    const tally = new Tally(1000);
    for (let i = 0; i < 98; i++) tally.record(1);
    tally.took(100);
    tally.record(50);
    tally.record(80, false);
    tally.took(400);
    const figures = tally.figures();
    // 100 answers of 1000 each in half a second; the mean of both slices' rates would be nearly half a million.
    expect(figures).toMatchObject({ ops: 100, perSecond: 200_000, failed: 1 });
    expect(figures.p50Us).toBeCloseTo(1000, -1);
    expect(figures.p99Us).toBeGreaterThan(49_000);
    expect(figures.maxUs).toBeGreaterThan(79_000);
  });

  it('counts what was not answered among the latencies and not in the rate', () => {
    const tally = new OpenTally(100);
    for (let i = 0; i < 10; i++) tally.record(1);
    tally.unanswered += 5;
    tally.late(2);
    tally.took(1000);
    expect(tally.figures()).toMatchObject({ ops: 10, perSecond: 5, unanswered: 5, rate: 100 });
    expect(tally.figures().generatorP99Us).toBeCloseTo(2000, -1);
  });

  it('is of zeros where nothing was asked', () => {
    expect(new Tally().figures()).toMatchObject({ ops: 0, perSecond: 0, maxUs: 0, failed: 0 });
  });
});

describe('the plan', () => {
  it('cuts every loop into short slices that take its time together', () => {
    for (const capMs of [20, 500, 1500, 4000]) {
      for (const { workload, shape, slices, sliceMs } of plan(capMs)) {
        const caps = shape.kind === 'open' ? 4 / 3 : workload === 'httpBulk64Clients' ? 2 / 3 : 1;
        const ms = capMs * caps;
        expect(slices * sliceMs).toBeCloseTo(ms, 6);
        expect(sliceMs).toBeLessThanOrEqual(shape.kind === 'open' ? 1500 : 750);
      }
    }
  });

  it('has each workload once, 64 in flight by fewer connections and by as many', () => {
    const steps = new Map(plan(1500).map((step) => [step.workload, step.shape]));
    expect(steps.size).toBe(plan(1500).length);
    expect(steps.get('httpGet64')).toEqual({ kind: 'closed', asks: 'get', connections: 16, depth: 4 });
    expect(steps.get('httpPut64Clients')).toEqual({ kind: 'closed', asks: 'put', connections: 64, depth: 1 });
  });

  it('lets everybody be asked in every turn, and another first each time', () => {
    expect([0, 1, 2, 3].map((turn) => inTurn(['a', 'b', 'c'], turn).join(''))).toEqual(['abc', 'bca', 'cab', 'abc']);
    expect(inTurn([], 5)).toEqual([]);
  });
});

describe('servers side by side', () => {
  it('are warmed up off the record, and asked no more of what took far too long', async () => {
    let asked = 0;
    const port = await serve((_req, res) => {
      asked++;
      res.end('{}');
    });
    const workloads = new Workloads({ kind: 'node', port, entities: 10, seed: 1 });
    // Whatever is sent takes longer than a microsecond.
    const step: Step = {
      workload: 'httpGet1',
      shape: { kind: 'closed', asks: 'get', connections: 1, depth: 1 },
      slices: 2,
      sliceMs: 0.001,
    };
    await workloads.slice(step, false);
    expect(workloads.measured()).toEqual({});
    const warm = asked;
    for (let slice = 0; slice < 5; slice++) await workloads.slice(step, true);
    expect(asked).toBe(warm + 1);
    expect(workloads.measured()).toMatchObject({ httpGet1: { ops: 1, failed: 0 } });
  });

  it('go on without the one that fails', async () => {
    const lines: string[] = [];
    const settings = {
      entities: 20,
      capMs: 5,
      reps: 2,
      seed: 1,
      directory: root.path,
      // Nothing is installed there.
      peersDirectory: path.join(root.path, 'none'),
      log: (line: string) => void lines.push(line),
    };
    const [broken, whole] = [new HttpKindRun('pouchdb', settings), new HttpKindRun('node', settings)];
    await repeatHttp([broken, whole], settings);
    expect(broken.result()).toMatchObject({ errors: [expect.stringMatching(/^run 1 of 2: start: /)], workloads: {} });
    const { errors, workloads } = whole.result();
    expect(errors).toEqual([]);
    expect(Object.keys(workloads)).toEqual(expect.arrayContaining(plan(5).map(({ workload }) => workload)));
    expect(workloads['httpGet64Clients']).toMatchObject({ failed: 0 });
    expect(lines).toContainEqual(expect.stringContaining('HTTP, pouchdb: start: '));
  });
});
