/** What the contract promises, said with curl: nobody here wrote it, and it refuses answers that are no HTTP. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readText } from '../house/repository.js';
import { TestServer } from '../server/support.js';
import { Correspondence, examplesOf, renderAnswer } from '../support/http-document.js';
import { curl, LivingCurl } from './curl.js';

const MIB = 1 << 20;
const JSON_HEADER = ['-H', 'Content-Type: application/json'];

describe('curl', () => {
  let s: TestServer;
  let folder: string;
  let alice: string;
  beforeAll(async () => {
    s = await TestServer.start();
    folder = mkdtempSync(join(tmpdir(), 'varve-curl-'));
    alice = `${s.server.url}/v1/collections/customers/entities/alice`;
  });
  afterAll(async () => {
    await s.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('inserts, reads, asks for the past, and ends an entity', async () => {
    const first = await curl('-X', 'PUT', ...JSON_HEADER, '-d', '{"city":"Bern"}', alice);
    expect(first).toMatchObject({ code: 0, status: 201, headers: { etag: `"${first.json.id}"` } });
    const second = await curl('--json', '{"city":"Basel"}', '-X', 'PUT', '-H', `If-Match: ${first.headers.etag}`, alice);
    expect(second).toMatchObject({ code: 0, status: 201, json: { supersedes: first.json.id } });
    const late = await curl('--json', '{"city":"Chur"}', '-X', 'PUT', '-H', `If-Match: ${first.headers.etag}`, alice);
    expect(late).toMatchObject({ code: 0, status: 412, json: { type: 'urn:varve:precondition-failed', current: second.json.id } });
    expect(await curl(`${alice}?view=body`)).toMatchObject({ code: 0, status: 200, text: '{"city":"Basel"}' });
    expect(await curl(`${alice}?view=body&asOf=${first.json.id}`)).toMatchObject({ code: 0, status: 200, text: '{"city":"Bern"}' });
    expect(await curl(String(new URL(String(first.headers.location), s.server.url)))).toMatchObject({
      code: 0,
      json: { body: { city: 'Bern' } },
    });
    expect(await curl('-X', 'DELETE', alice)).toMatchObject({ code: 0, status: 200, json: { deleted: true } });
    expect(await curl(alice)).toMatchObject({ code: 0, status: 410, json: { type: 'urn:varve:deleted' } });
    // What scripts go by: --fail makes an exit code of a status.
    expect((await curl('--fail', alice)).code).toBe(22);
  });

  it('keeps an ETag in a file and hears 304', async () => {
    const [url, tag] = [alice.replace('alice', 'tagged'), join(folder, 'etag')];
    await curl('--json', '1', '-X', 'PUT', url);
    const saved = await curl('--etag-save', tag, url);
    expect(readFileSync(tag, 'utf8').trim()).toBe(saved.headers.etag);
    expect(await curl('--etag-compare', tag, url)).toMatchObject({ code: 0, status: 304, text: '', headers: { etag: saved.headers.etag } });
    await curl('--json', '2', '-X', 'PUT', url);
    expect(await curl('--etag-compare', tag, url)).toMatchObject({ code: 0, status: 200, json: { body: 2 } });
  });

  it('asks for heads alone', async () => {
    const url = alice.replace('alice', 'head');
    await curl('--json', '"é"', '-X', 'PUT', url);
    const [get, head] = [await curl(url), await curl('--head', url)];
    expect(head).toMatchObject({
      code: 0,
      status: 200,
      text: '',
      headers: { 'content-length': String(get.bytes.length), etag: get.headers.etag },
    });
    expect(await curl('--head', `${url}x`)).toMatchObject({ code: 0, status: 404, text: '' });
  });

  it('asks several times over one connection, also where an answer has no body or refuses one', async () => {
    const url = alice.replace('alice', 'again');
    await curl('--json', '1', '-X', 'PUT', url);
    const { etag } = (await curl(url)).headers;
    const wanted = ['-H', `If-None-Match: ${etag}`, '-w', '\nconnects %{num_connects}\n'];
    const first = [...wanted, url];
    const others = [['-X', 'OPTIONS', url], [`${url}?nonsense=1`], [url]].flatMap((each) => ['--next', '-si', ...wanted.slice(2), ...each]);
    const reply = await curl(...first, ...others);
    expect(reply.code).toBe(0);
    expect(reply.status).toBe(304);
    expect(reply.text.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 204', 'HTTP/1.1 400', 'HTTP/1.1 200']);
    expect(reply.text.match(/^connects \d+/gm)).toEqual(['connects 1', 'connects 0', 'connects 0', 'connects 0']);
  });

  it('sends a file, chunked after 100-continue as well, and hears of one that is too large', async () => {
    const url = alice.replace('alice', 'sent');
    const path = join(folder, 'body');
    const chunked = ['-H', 'Transfer-Encoding: chunked', '-H', 'Expect: 100-continue'];
    writeFileSync(path, `"${'x'.repeat(MIB - 2)}"`);
    for (const how of [[], chunked]) expect(await curl('-T', path, ...JSON_HEADER, ...how, url)).toMatchObject({ code: 0, status: 201 });
    writeFileSync(path, `"${'x'.repeat(MIB - 1)}"`);
    for (const how of [[], chunked])
      expect(await curl('-T', path, ...JSON_HEADER, ...how, url)).toMatchObject({ code: 0, status: 413, json: { limit: MIB } });
  });

  it('streams lines in and hears of the first before it has sent the last', async () => {
    const stream = new LivingCurl('-X', 'POST', '-H', 'Content-Type: application/x-ndjson', '-T', '.', `${s.server.url}/v1/records`);
    let heard = false;
    const first = stream.next().finally(() => {
      heard = true;
    });
    // curl looks at what has come only when it has something to send.
    let sent = 0;
    while (!heard) {
      stream.write({ collection: 'streamed', key: `k${++sent}`, body: sent });
      while ((await s.get(`/v1/collections/streamed/entities/k${sent}`)).status !== 200);
    }
    expect(await first).toEqual({ line: 1, id: expect.stringMatching(/^[0-9a-f]{16}$/) });
    stream.write({ collection: 'streamed' });
    const ended = stream.end();
    for (let n = 2; n <= sent; n++) expect(await stream.next()).toMatchObject({ line: n, id: expect.any(String) });
    expect(await stream.next()).toMatchObject({ line: sent + 1, error: { status: 400 } });
    expect(await stream.next()).toEqual({ done: true, inserted: sent, failed: 1 });
    expect(await ended).toBe(0);
  });

  it('follows the feed line by line', async () => {
    const feed = new LivingCurl(`${s.server.url}/v1/changes?after=now`);
    expect(await feed.next()).toEqual({ cursor: expect.any(String) });
    const { id } = (await curl('--json', '1', '-X', 'PUT', alice.replace('alice', 'fed'))).json;
    expect(await feed.next()).toMatchObject({ id, body: 1 });
    feed.kill();
    await feed.end();
  });

  it('takes a listing to its end', async () => {
    const reply = await curl('-H', 'Accept: application/x-ndjson', alice.replace('/alice', ''));
    expect(reply.code).toBe(0);
    const lines = reply.text.trim().split('\n');
    expect(JSON.parse(lines.at(-1)!)).toEqual({ done: true, count: lines.length - 1 });
  });
});

describe('every example of docs/HTTP.md', () => {
  it('does with curl what the document says', async () => {
    const s = await TestServer.start();
    const known = new Correspondence();
    for (const { method, target, headers, body, answer, line } of examplesOf(readText('docs/HTTP.md'))) {
      s.platform.advance(1e6);
      await Promise.all(s.db.jobs().map(({ id }) => s.db.jobEnded(id)));
      const sent = Object.entries({ ...(body === '' ? {} : { 'Content-Type': 'application/json' }), ...headers });
      const args = sent.flatMap(([name, value]) => ['-H', `${name}: ${known.toRun(value)}`]);
      const end = headers['Content-Type'] === 'application/x-ndjson' ? '\n' : '';
      if (body !== '') args.push('--data-binary', known.toRun(body) + end);
      const how = method === 'HEAD' ? ['--head'] : ['-X', method];
      const reply = await curl(...how, ...args, s.server.url + known.toRun(target));
      const place = `docs/HTTP.md, line ${line}: ${method} ${target}`;
      expect(reply.code, place).toBe(0);
      expect(steady(known.toDocument(renderAnswer(reply, answer), answer)), place).toBe(steady(answer));
    }
    await s.stop();
  });
});

/** An idle server marks its log, which takes a few bytes and is counted as a record there: between the runs of another process it may be idle. */
function steady(text: string): string {
  return text
    .replaceAll(/"(\w*[bB]ytes\w*|recordsBefore|recordsAfter)": \d+/g, '"$1": 0')
    .replaceAll(/^(Content-Range: bytes .*\/)\d+$/gm, '$10');
}
