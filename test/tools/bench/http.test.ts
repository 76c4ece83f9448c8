/** The load generator: answers are cut out of the stream right, and a stall is felt by everyone who would have come meanwhile. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { afterAll, describe, expect, it } from 'vitest';
import { closedLoop, openLoop } from '../../../tools/bench/http/load.js';
import { ResponseReader, request } from '../../../tools/bench/http/wire.js';

const servers: Server[] = [];
afterAll(() => {
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
