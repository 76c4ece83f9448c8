/**
 * The description of the API: valid OpenAPI as somebody else's validator sees it, the same set of operations as are mounted, the same
 * parameters as the handlers take. That answers are as described is checked wherever the tests see one (answer-check.ts).
 */
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DESCRIPTIONS } from '../../server/operations/index.js';
import { KINDS } from '../../server/problem.js';
import { OPERATIONS, ROUTES } from '../../server/routes/table.js';
import { VERSION } from '../../server/version.js';
import { manifest } from '../house/repository.js';
import { checkAnswer } from './answer-check.js';
import { TestServer } from './support.js';

let s: TestServer;
// biome-ignore lint/suspicious/noExplicitAny: the document is looked into as it is
let document: any;
beforeAll(async () => {
  s = await TestServer.start();
  document = (await s.get('/openapi.json')).json;
});
afterAll(() => s.stop());

const operations = () => Object.values(document.paths).flatMap((methods) => Object.values(methods as object));

describe('the description', () => {
  it('is valid OpenAPI 3.1, of this version', async () => {
    const result = await new Validator().validate(structuredClone(document));
    expect(result).toMatchObject({ valid: true });
    expect(document.openapi).toBe('3.1.0');
    expect(document.info.version).toBe(VERSION);
    expect(VERSION).toBe(manifest().version);
  });

  it('has every mounted operation, and no other', () => {
    const mounted = ROUTES.flatMap(({ path, endpoints }) => Object.keys(endpoints).map((method) => `${method} ${path}`)).sort();
    expect(Object.keys(DESCRIPTIONS).sort()).toEqual(mounted);
    expect(OPERATIONS).toHaveLength(mounted.length);
    expect(operations()).toHaveLength(mounted.length);
  });

  it('names every operation once, refers to nothing that is not there, and leaves no problem undescribed', () => {
    const ids = operations().map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const text = JSON.stringify(document);
    for (const [, ref = ''] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const target = ref.split('/').reduce((at, part) => at?.[part], document);
      expect(target, ref).toBeDefined();
    }
    // What is told on the bare socket, or on paths and methods that there are none of, is no answer of an operation.
    const elsewhere = ['headers-too-large', 'method-not-allowed'];
    const undescribed = Object.keys(KINDS).filter((slug) => !elsewhere.includes(slug) && !text.includes(`"urn:varve:${slug}"`));
    expect(undescribed).toEqual([]);
  });

  it('lists the query parameters that the handlers take', async () => {
    for (const { method, path, description } of OPERATIONS) {
      const target = path.replace(':collection', 'c').replace(':shard', '1').replace(':id', '0001000000000001').replaceAll(/:\w+/g, 'k');
      const names = Object.keys(description.query.shape);
      const query = [...names, 'nonsense'].map((name) => `${name}=x`).join('&');
      const reply = await s.ask(method, `${target}?${query}`, method === 'PUT' || method === 'POST' ? { body: {} } : {});
      expect(reply.json, `${method} ${path}`).toMatchObject({ type: 'urn:varve:unknown-parameter', parameters: ['nonsense'] });
    }
  });

  it('requires a token of every operation on data, and says which role', () => {
    for (const { role, template, method } of OPERATIONS) {
      const operation = document.paths[template][method.toLowerCase()];
      expect(operation['x-varve-role']).toBe(role);
      expect(operation.security, template).toEqual(role === 'none' ? [] : [{ bearer: [] }, {}]);
      if (role !== 'none') expect(operation.responses['401'], template).toBeDefined();
    }
  });
});

describe('the check of answers', () => {
  const record = {
    id: '0001000000000001',
    shard: 1,
    seq: 1,
    time: '2026-11-21T08:00:00.000000Z',
    collection: 'c',
    key: 'k',
    supersedes: null,
    refs: [],
    deleted: false,
    hash: '0'.repeat(64),
    body: 1,
  };
  const headers = { 'content-type': 'application/json', etag: '"0001000000000001"' };
  const get = { method: 'GET', path: '/v1/records/0001000000000001' };

  it('takes what is described', () => {
    checkAnswer(get, { status: 200, headers, text: JSON.stringify(record) });
  });

  it.each([
    ['another status', { status: 202, headers, text: JSON.stringify(record) }],
    ['a field too many', { status: 200, headers, text: JSON.stringify({ ...record, color: 'red' }) }],
    ['a field too few', { status: 200, headers, text: JSON.stringify({ ...record, hash: undefined }) }],
    ['a value of another form', { status: 200, headers, text: JSON.stringify({ ...record, time: 'noon' }) }],
    ['another media type', { status: 200, headers: { ...headers, 'content-type': 'text/plain' }, text: JSON.stringify(record) }],
    ['a header that is missing', { status: 200, headers: { 'content-type': 'application/json' }, text: JSON.stringify(record) }],
    ['a header too many', { status: 200, headers: { ...headers, 'varve-color': 'red' }, text: JSON.stringify(record) }],
    ['a header of another form', { status: 200, headers: { ...headers, etag: 'W/"1"' }, text: JSON.stringify(record) }],
    [
      'a problem of another operation',
      {
        status: 410,
        headers: { 'content-type': 'application/problem+json', 'varve-request-id': 'a-1' },
        text: JSON.stringify({ type: 'urn:varve:deleted', title: KINDS.deleted.title, status: 410, detail: 'gone', tombstone: record }),
      },
    ],
  ])('refuses %s', (_what, answer) => {
    expect(() => checkAnswer(get, answer)).toThrow();
  });

  it('reads every line of a stream', () => {
    const post = { method: 'POST', path: '/v1/records' };
    const lines = { 'content-type': 'application/x-ndjson' };
    const good = '{"line":1,"id":"0001000000000001"}\n{"done":true,"inserted":1,"failed":0}\n';
    checkAnswer(post, { status: 200, headers: lines, text: good });
    expect(() => checkAnswer(post, { status: 200, headers: lines, text: good.replace('"line":1', '"line":"1"') })).toThrow(/line/);
  });
});

describe('the page for people', () => {
  it('shows every operation, loads nothing and runs nothing', async () => {
    const page = await s.get('/docs');
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.headers['content-security-policy']).toMatch(/^default-src 'none';/);
    for (const { description, template } of OPERATIONS) {
      expect(page.text).toContain(`id="${description.id}"`);
      expect(page.text.replaceAll(/<\/?var>/g, '')).toContain(`<code>${template}</code>`);
    }
    expect(page.text).toContain('<code>precondition-failed</code> The entity is not at the expected version');
    expect(page.text).not.toMatch(/<script|<link|<img|src=|@import|url\(/i);
    const anchors = new Set([...page.text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    for (const [, target] of page.text.matchAll(/href="#([^"]+)"/g)) expect(anchors).toContain(target);
  });
});
