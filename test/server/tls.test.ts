/** HTTPS: who may talk, with what, and how certificates are replaced under a running server. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { type FlagValues, loadConfig, readTls, type Serving, serve, startServer } from '../../server/index.js';
import { certificate, type Identity, MapDisk, memoryLog } from './doors-support.js';
import { readReply } from './support.js';

const AUTHORITY = certificate('an authority', { authority: true });
const ONE = certificate('one');
const TWO = certificate('two');
const FILES = { cert: 'cert.pem', key: 'key.pem' };

function diskOf(identity: Identity): MapDisk {
  const disk = new MapDisk();
  disk.write(FILES.cert, identity.cert);
  disk.write(FILES.key, identity.key);
  return disk;
}

async function ask(url: string, options: ConnectionOptions & { headers?: Record<string, string> } = {}): Promise<number> {
  const req = request(`${url}/livez`, { ca: [ONE.cert, TWO.cert], agent: false, ...options });
  req.end();
  return (await readReply(((await once(req, 'response')) as [IncomingMessage])[0])).status;
}

async function subjectOf(url: string): Promise<string> {
  const socket: TLSSocket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), ca: [ONE.cert, TWO.cert] });
  await once(socket, 'secureConnect');
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN as string;
}

describe('a server with a certificate', () => {
  it('speaks HTTPS and nothing else', async () => {
    const server = await startServer({ listen: '127.0.0.1:0', tls: readTls(diskOf(ONE), FILES), limits: { headersTimeoutMs: 100 } });
    expect(server.url).toMatch(/^https:/);
    expect(await ask(server.url)).toBe(200);
    expect(await ask(server.url, { headers: { Origin: server.url } })).toBe(200);
    expect(await ask(server.url, { headers: { Origin: server.url.replace('https', 'http') } })).toBe(403);
    await expect(ask(server.url, { ca: [TWO.cert] })).rejects.toThrow(/self.signed|unable to verify/i);
    await expect(ask(server.url, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })).rejects.toThrow();
    await expect(fetch(server.url.replace('https', 'http'))).rejects.toThrow();
    // Who connects and never shakes hands is cut as well.
    const silent = connectTcp(Number(new URL(server.url).port), '127.0.0.1');
    silent.on('error', () => {});
    await once(silent, 'close');
    expect(await ask(server.url)).toBe(200);
    await server.close();
  });

  it('asks clients for theirs where it was given an authority', async () => {
    const disk = diskOf(ONE);
    disk.write('ca.pem', AUTHORITY.cert);
    const server = await startServer({ listen: '127.0.0.1:0', tls: readTls(disk, { ...FILES, clientCa: 'ca.pem' }) });
    const known = certificate('a client', { issuer: AUTHORITY });
    const stranger = certificate('a client');
    expect(await ask(server.url, { cert: known.cert, key: known.key })).toBe(200);
    await expect(ask(server.url)).rejects.toThrow();
    await expect(ask(server.url, { cert: stranger.cert, key: stranger.key })).rejects.toThrow();
    await server.close();
  });

  it.each([
    ['a key of another certificate', ONE.cert, TWO.key, /tlsKey: key\.pem is not the private key of cert\.pem/],
    ['no certificate', 'nonsense', ONE.key, /tlsCert: cert\.pem holds no certificate/],
    ['no key', ONE.cert, 'nonsense', /tlsKey: key\.pem is not the private key/],
  ])('does not start with %s', (_what, cert, key, message) => {
    expect(() => readTls(diskOf({ name: '', cert, key }), FILES)).toThrow(message);
    expect(() => readTls(diskOf({ name: '', cert, key }), FILES)).not.toThrow(/BEGIN|PRIVATE/);
  });

  it('says which file is missing', () => {
    const disk = diskOf(ONE);
    expect(() => readTls(disk, { ...FILES, clientCa: 'ca.pem' })).toThrow(/tlsClientCa: there is no file ca\.pem/);
    disk.remove(FILES.key);
    expect(() => readTls(disk, FILES)).toThrow(/tlsKey: there is no file key\.pem/);
  });
});

describe('serving over TLS', () => {
  const configOf = (flags: FlagValues) => loadConfig({ flags: { listen: '127.0.0.1:0', ...flags }, env: {}, readText: () => '' });

  it('takes a new certificate when the files change, and on SIGHUP; keeps the old one where the new cannot be used', async () => {
    const disk = diskOf(ONE);
    const log = memoryLog('info');
    const hangUps: (() => void)[] = [];
    const signals = {
      on: (signal: string, listener: () => void) => void (signal === 'SIGHUP' && hangUps.push(listener)),
      off: () => {},
      exit: () => {},
    };
    const running: Serving = await serve(configOf({ tlsCert: FILES.cert, tlsKey: FILES.key }), {
      signals,
      logger: log.logger,
      disk,
      openDatabase: () => openWith(new MemoryPlatform({ autoAdvanceMicros: 1 })),
    });
    await running.ready;
    expect(await subjectOf(running.url)).toBe('one');
    disk.write(FILES.cert, TWO.cert);
    while (!log.text().includes('stays as it was')) await ask(running.url);
    expect(await subjectOf(running.url)).toBe('one');
    disk.write(FILES.key, TWO.key);
    while ((await subjectOf(running.url)) === 'one') await ask(running.url);
    expect(log.text()).toContain('the certificate was read again');
    const readings = () => log.text().split('the certificate was read again').length;
    const before = readings();
    for (const hangUp of hangUps) hangUp();
    expect(readings()).toBe(before + 1);
    expect(log.text()).not.toContain('PRIVATE KEY');
    expect(await running.stop()).toBe(0);
  });

  it('wants both halves of a pair', async () => {
    for (const flags of [{ tlsCert: 'x' }, { tlsKey: 'x' }, { tlsClientCa: 'x' }])
      await expect(serve(configOf({ ...flags, logLevel: 'silent' }), { signals: null }), JSON.stringify(flags)).rejects.toThrow(
        /belong together|needs --tls-cert/,
      );
  });
});
