/**
 * docs/HTTP.md has a worked example of every call, and every example does what the document says. With UPDATE_DOCS=1 the answers in the
 * document are written anew from what the server gives.
 */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { KINDS } from '../../server/problem.js';
import { OPERATIONS, type Operation } from '../../server/routes/table.js';
import { TestServer } from '../server/support.js';
import { Correspondence, examplesOf, renderAnswer } from '../support/http-document.js';
import { ROOT, readText } from './repository.js';

const PATH = 'docs/HTTP.md';
const text = readText(PATH);
const examples = examplesOf(text);

let s: TestServer;
beforeAll(async () => {
  s = await TestServer.start();
  expect(s.platform).toBeInstanceOf(MemoryPlatform);
});
afterAll(() => s.stop());

describe('the document of the HTTP API', () => {
  it('shows answers that the server gives', async () => {
    const known = new Correspondence();
    const update = process.env['UPDATE_DOCS'] === '1';
    let updated = text;
    let shift = 0;
    for (const example of examples) {
      const { method, target, headers, body, answer, place, line } = example;
      const sent = Object.entries(headers).map(([name, value]) => [name, known.toRun(value)]);
      // A moment passes between the calls of a person, and what they started is done by then.
      s.platform.advance(1e6);
      await Promise.all(s.db.jobs().map(({ id }) => ended(id)));
      const reply = await s.ask(method, known.toRun(target), {
        headers: Object.fromEntries(sent),
        ...(body === '' ? {} : { body: known.toRun(body) + (headers['Content-Type'] === 'application/x-ndjson' ? '\n' : '') }),
      });
      const rendered = known.toDocument(renderAnswer(reply, answer), answer);
      if (update) {
        updated = updated.slice(0, place[0] + shift) + rendered + updated.slice(place[1] + shift);
        shift += rendered.length - (place[1] - place[0]);
      } else expect(rendered, `${PATH}, line ${line}: ${method} ${target}`).toBe(answer);
    }
    if (update) writeFileSync(new URL(PATH, `file://${ROOT}/`), updated);
  });

  it('has an example of every operation, but for what only nodes say to each other: the protocol has those', () => {
    const shown = new Set(examples.map(({ method, target }) => operationOf(method, target.split('?', 1)[0]!)));
    const protocol = readText('docs/PROTOCOL.md');
    const ofPeers = ({ method, template }: Operation) => {
      const path = template.replace('/replication/v1', '').replaceAll('{shard}', '{n}');
      return template.startsWith('/replication/') && protocol.includes(`${method} ${path}`);
    };
    const missing = OPERATIONS.filter((operation) => !shown.has(operation.description.id) && !ofPeers(operation));
    expect(missing.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
  });

  it('lists every kind of problem with its status and title', () => {
    const listed = [...text.matchAll(/^\| `([a-z-]+)` \| (\d{3}) \| (.+?) \|$/gm)].map(([, slug, status, title]) => [slug, status, title]);
    expect(listed).toEqual(Object.entries(KINDS).map(([slug, { status, title }]) => [slug, String(status), title]));
  });
});

function ended(id: string): Promise<void> {
  return new Promise((resolve) => {
    const stop = s.db.watchJob(id, (job) => {
      if (job.ended !== null) done();
    });
    const done = () => {
      stop();
      resolve();
    };
    if (s.db.job(id)?.ended !== null) done();
  });
}

function operationOf(method: string, path: string): string | undefined {
  const fits = OPERATIONS.filter((operation) => {
    const pattern = new RegExp(`^${operation.template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`);
    return operation.method === method && pattern.test(path);
  });
  return (fits.find(({ parameters }) => parameters.length === 0) ?? fits[0])?.description.id;
}
