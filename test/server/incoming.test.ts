/** Bodies of requests, however they come. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { letRunOut } from '../../server/answers.js';
import { Incoming } from '../../server/incoming.js';
import { TestServer } from './support.js';

const ENTITY = '/v1/collections/c/entities/k';

describe('a request body', () => {
  let s: TestServer;
  afterEach(() => s.stop());

  const head = (length: number, more = '') =>
    `PUT ${ENTITY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n${more}\r\n`;

  /** Each piece is sent when the server has read the one before. */
  async function send(pieces: readonly string[]): Promise<Socket> {
    const socket = connect({ port: s.port, host: '127.0.0.1', noDelay: true });
    for (const piece of pieces) {
      await new Promise((resolve) => socket.write(piece, resolve));
      // Another connection's answer: what came before it has been read.
      await s.get('/livez');
    }
    return socket;
  }

  /** What is held for bodies, as /metrics says. */
  async function heldBytes(): Promise<number> {
    const { text } = await s.get('/metrics');
    return Number(/^varve_http_body_bytes (\d+)$/m.exec(text)?.[1]);
  }

  it('is the same in one piece, in several, and behind its head', async () => {
    s = await TestServer.start();
    const body = JSON.stringify({ text: 'x'.repeat(40), n: 1 });
    const whole = head(body.length) + body;
    for (const cuts of [[], [whole.length - body.length], [whole.length - 10], [20, whole.length - body.length + 5, whole.length - 1]]) {
      const pieces = [0, ...cuts].map((from, i) => whole.slice(from, cuts[i]));
      const socket = await send(pieces.slice(0, -1));
      socket.write(pieces.at(-1)!);
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 201 /);
      socket.destroy();
      const { json } = await s.get(ENTITY);
      expect(json).toMatchObject({ body: JSON.parse(body) });
    }
    const { json } = await s.get(`${ENTITY}/history`);
    expect(json.records).toHaveLength(4);
    expect(await heldBytes()).toBe(0);
  });

  it('that breaks off in the middle gives its memory back, and inserts nothing', async () => {
    s = await TestServer.start();
    const socket = await send([`${head(1000)}{"text":"`, 'x'.repeat(100)]);
    expect(await heldBytes()).toBe(1000);
    socket.destroy();
    while ((await heldBytes()) !== 0);
    expect((await s.get(ENTITY)).status).toBe(404);
  });

  it('that is over the limit once much of it is here is let run out, and the connection goes on', async () => {
    s = await TestServer.start({ limits: { maxBodyBytes: 1000 } });
    const chunk = `190\r\n${'1'.repeat(400)}\r\n`;
    const chunked = head(0).replace('Content-Length: 0', 'Transfer-Encoding: chunked');
    const socket = await send([chunked, chunk, chunk, chunk]);
    socket.write(`${chunk}0\r\n\r\n${head(7, 'Connection: close\r\n')}{"n":1}`);
    let text = '';
    socket.setEncoding('latin1').on('data', (more: string) => (text += more));
    await once(socket, 'close');
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413', 'HTTP/1.1 201']);
    expect(await heldBytes()).toBe(0);
  });
});

describe('an incoming request', () => {
  async function incoming(bytes: string, handle: (req: Incoming) => void): Promise<void> {
    const server = createServer({ IncomingMessage: Incoming }, handle);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
    socket.write(bytes);
    await once(socket, 'close');
    server.close();
  }

  const POST = 'POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n';

  it('gives its body to one that asks for it in time, and what is left to the stream once that one lets go', async () => {
    const seen: string[] = [];
    await incoming(`${POST}1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n`, (req) => {
      const sink = {
        data: (chunk: Buffer) => {
          seen.push(`sink ${chunk}`);
          if (String(chunk) === 'b') req.letGo();
        },
        end: () => seen.push('sink end'),
      };
      expect([req.giveBody(sink), req.giveBody(sink)]).toEqual([true, false]);
      req.on('data', (chunk) => seen.push(`stream ${chunk}`));
      req.on('end', () => {
        seen.push('stream end');
        expect(req.giveBody(sink)).toBe(false);
        req.socket.destroy();
      });
    });
    expect(seen).toEqual(['sink a', 'sink b', 'stream c', 'stream end']);
  });

  it('whose end nobody waits for has one all the same where what is left of it is to run out', async () => {
    let ends = 0;
    await incoming('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', (req) => {
      req.endsUnheard();
      letRunOut(req);
      req.on('end', () => {
        ends++;
        req.socket.destroy();
      });
    });
    expect(ends).toBe(1);
  });
});
