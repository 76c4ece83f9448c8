/** What requests say beside their bodies. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { checkRequest, Hosts } from '../../server/guard.js';
import { isLoopback, parseListen } from '../../server/index.js';
import { isNotModified, negotiate, readExpect, readInsertOptions, readQuery, readRefs } from '../../server/requests.js';

const A = '0001000000000a3f';
const B = '0001000000000a40';
const request = (headers: IncomingHttpHeaders, url = '/') =>
  ({ headers, url, rawHeaders: Object.entries(headers).flat() }) as IncomingMessage;

const LOOPBACK = new Hosts({ host: '127.0.0.1', port: 7411 });

describe('query strings', () => {
  it('decode names and values', () => {
    expect({ ...readQuery('/x?a=1&b=a%20b+c&verbose&d=%C3%A9&') }).toEqual({ a: '1', b: 'a b c', verbose: '', d: 'é' });
    expect({ ...readQuery('/x') }).toEqual({});
    expect(Object.entries(readQuery('/x?__proto__=1'))).toEqual([['__proto__', '1']]);
  });

  it('refuse a name twice and broken escapes', () => {
    expect(() => readQuery('/x?limit=1&limit=2')).toThrow(/limit is given more than once/);
    for (const broken of ['%', '%zz', '%ff', 'a=%c3%28'])
      expect(() => readQuery(`/x?${broken}`), broken).toThrow(/broken percent-encoding/);
  });
});

describe('preconditions', () => {
  it('become what the insert expects', () => {
    expect(readExpect(request({}))).toBeUndefined();
    expect(readExpect(request({ 'if-none-match': '*' }))).toBeNull();
    expect(readExpect(request({ 'if-match': '*' }))).toBe('*');
    expect(readExpect(request({ 'if-match': `"${A}"` }))).toEqual([A]);
    expect(readExpect(request({ 'if-match': `"${A}" , "${B}"` }))).toEqual([A, B]);
  });

  it('never match by a weak tag or by what is no id', () => {
    expect(readExpect(request({ 'if-match': `W/"${A}", "nope"` }))).toEqual([]);
  });

  it('refuse what they cannot mean', () => {
    for (const headers of [
      { 'if-match': A },
      { 'if-match': '' },
      { 'if-none-match': `"${A}"` },
      { 'if-match': '*', 'if-none-match': '*' },
    ]) {
      expect(() => readExpect(request(headers)), JSON.stringify(headers)).toThrow();
    }
  });

  it('compare weakly when reading', () => {
    for (const tags of [`"${A}"`, `W/"${A}"`, `"x", "${A}"`, '*'])
      expect(isNotModified(request({ 'if-none-match': tags }), A), tags).toBe(true);
    expect(isNotModified(request({ 'if-none-match': `"${B}"` }), A)).toBe(false);
    expect(isNotModified(request({}), A)).toBe(false);
  });
});

describe('insert headers', () => {
  it('give refs, time and idempotency key', () => {
    expect(readRefs(request({ 'varve-refs': `${A}, ${B}` }))).toEqual([A, B]);
    expect(readInsertOptions(request({ 'varve-time': '2026-01-01T00:00:00Z', 'idempotency-key': 'k-1' }))).toEqual({
      time: '2026-01-01T00:00:00Z',
      idempotencyKey: 'k-1',
    });
  });

  it('refuse refs that are no ids and keys that are not visible ASCII', () => {
    expect(() => readRefs(request({ 'varve-refs': `${A},,${B}` }))).toThrow(/Varve-Refs\[1\]/);
    expect(() => readRefs(request({ 'varve-refs': '#0' }))).toThrow();
    for (const key of ['', 'a b', 'é', 'x'.repeat(256)])
      expect(() => readInsertOptions(request({ 'idempotency-key': key })), key).toThrow();
  });
});

describe('negotiation', () => {
  const types = ['application/json', 'application/x-ndjson'] as const;
  it.each([
    [undefined, 'application/json'],
    ['*/*', 'application/json'],
    ['application/*', 'application/json'],
    ['application/x-ndjson', 'application/x-ndjson'],
    ['application/json;q=0.5, application/x-ndjson', 'application/x-ndjson'],
    ['application/x-ndjson;q=0, */*', 'application/json'],
    ['text/html, */*;q=0.1', 'application/json'],
  ])('%s gives %s', (accept, type) => {
    expect(negotiate(request(accept === undefined ? {} : { accept }), types)).toBe(type);
  });

  it('refuses where nothing will do', () => {
    expect(() => negotiate(request({ accept: 'text/html' }), types)).toThrow(/application\/json, application\/x-ndjson/);
  });
});

describe('guard', () => {
  it('knows this machine by its names', () => {
    for (const host of ['localhost', 'LOCALHOST', '127.0.0.1', '127.9.9.9', '::1']) expect(isLoopback(host), host).toBe(true);
    for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.evil.example', '127.evil.example', '128.0.0.1', '', '0127.0.0.1'])
      expect(isLoopback(host), host).toBe(false);
    expect(parseListen('[::1]:0')).toEqual({ host: '::1', port: 0 });
    expect(parseListen('localhost:7411')).toEqual({ host: '127.0.0.1', port: 7411 });
  });

  it('lets the machine itself in and strangers not', () => {
    for (const host of ['localhost', 'localhost:7411', '127.0.0.1:7411', '[::1]:7411'])
      expect(() => checkRequest(request({ host }), LOOPBACK), host).not.toThrow();
    for (const host of [
      'evil.example',
      'evil.example:7411',
      '127.0.0.1.evil.example',
      'localhost:x',
      '',
      'a@localhost',
      '[::1',
      '192.168.0.1',
    ]) {
      expect(() => checkRequest(request({ host }), LOOPBACK), host).toThrow(/Host/);
    }
    expect(() => checkRequest(request({ host: 'localhost:7411', origin: 'http://localhost:7411' }), LOOPBACK)).not.toThrow();
    for (const origin of ['null', 'http://evil.example', 'http://localhost:3000', 'https://localhost:7411']) {
      expect(() => checkRequest(request({ host: 'localhost:7411', origin }), LOOPBACK), origin).toThrow(/Origin/);
    }
    for (const url of ['/é', 'http://localhost/', '*', '/a b', ''])
      expect(() => checkRequest(request({ host: 'localhost' }, url), LOOPBACK), url).toThrow(/request target/);
  });
});
