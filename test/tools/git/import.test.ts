import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConnectionError, HttpClient } from '../../../tools/http-client.js';
import { IMPORT_DEFAULTS, type ImportOptions, importGit } from '../../../tools/import/git/import.js';
import type { Note } from '../../../tools/import/git/records.js';
import { verifyGit } from '../../../tools/import/git/verify.js';
import { type TestServer, testServer } from '../cli.js';
import { makeAwkwardRepository, UNTAKEABLE } from './awkward-repository.js';
import { type MadeRepository, makeRepository } from './made-repository.js';

const PROJECT = new URL('../../../', import.meta.url).pathname;

let server: TestServer;
let client: HttpClient;
let repo: MadeRepository;

beforeEach(async () => {
  server = await testServer({ shards: 3 });
  client = new HttpClient(server.url);
});
afterEach(async () => {
  client.close();
  await server.remove();
  repo?.remove();
});

async function bringIn(path: string, options: Partial<ImportOptions> = {}) {
  const notes: Note[] = [];
  const summary = await importGit(client, path, { ...IMPORT_DEFAULTS, note: (note) => notes.push(note), ...options });
  const verified = await verifyGit(client, path, summary.tip, { commits: 'commits', files: 'files' });
  expect(verified.differences).toEqual([]);
  expect(verified.commits).toBe(summary.commits + summary.known);
  return { summary, notes, verified };
}

const body = async (collection: string, key: string) => {
  const reply = await client.json<{ body: Record<string, unknown>; refs: string[]; time: string }>(
    'GET',
    `/v1/collections/${collection}/entities/${encodeURIComponent(key)}`,
  );
  return reply;
};

/** The client, but for what becomes of the answer to the nth batch and those after it. */
function afterBatch(nth: number, then: (answer: unknown) => unknown): HttpClient {
  let batches = 0;
  return new Proxy(client, {
    get: (target, name) => {
      const value = Reflect.get(target, name, target) as unknown;
      if (name !== 'json') return typeof value === 'function' ? value.bind(target) : value;
      return async (method: string, path: string, options: object) => {
        if (method !== 'POST') return target.json(method, path, options);
        batches += 1;
        const answer = batches > nth - 1 && then.length === 0 ? undefined : await target.json(method, path, options);
        return batches >= nth ? then(answer) : answer;
      };
    },
  });
}

describe('importing a repository of awkward cases', () => {
  it('gives, as of every commit, exactly the tree that git gives', async () => {
    repo = makeAwkwardRepository();
    const { summary, notes } = await bringIn(repo.path);
    expect(summary.commits).toBe(Number(repo.git('rev-list', '--first-parent', '--count', 'main')));
    expect(summary).toMatchObject({
      known: 0,
      skipped: UNTAKEABLE.length,
      submodules: 2,
      omitted: 1,
      missing: 0,
      replacedTexts: 1,
      split: 0,
      shallow: false,
    });
    expect(notes.filter(({ kind }) => kind === 'path').map((note) => 'path' in note && note.path)).toContain('tab\\x09here');
    expect(notes).toContainEqual(expect.objectContaining({ kind: 'omitted', path: 'large.txt', size: 1024 * 1024 }));
  });

  it('keeps what git says of a commit, and the time it says where time goes forward', async () => {
    repo = makeAwkwardRepository();
    await bringIn(repo.path);
    const sha = repo.git('log', '--format=%H', '--grep=half an hour', 'main');
    const commit = await body('commits', sha);
    expect(commit.body).toEqual({
      sha,
      parents: [repo.git('rev-parse', `${sha}^`)],
      author: { name: 'A U Thor', email: 'author@example.com' },
      authored: '2004-11-09T08:03:19-03:30',
      committer: { name: 'C Mitter', email: 'committer@example.com' },
      committed: '2004-11-09T17:03:20+05:30',
      subject: 'half an hour',
      message: 'half an hour\n',
    });
    expect(commit.time).toBe('2004-11-09T11:33:20.000000Z');
    const back = await body('commits', repo.git('log', '--format=%H', '--grep=clock runs backwards', 'main'));
    const before = await body('commits', repo.git('log', '--format=%H', '--grep=submodule goes', 'main'));
    expect(Date.parse(back.time)).toBe(Date.parse(before.time));
    expect(back.time.slice(-8)).toBe('.000001Z'.slice(-8));
  });

  it('keeps text as text, other bytes as base64, and refs to the commit', async () => {
    repo = makeAwkwardRepository();
    await bringIn(repo.path);
    const file = await body('files', 'crlf.txt');
    expect(file.body).toMatchObject({ mode: '100644', size: 6, text: 'a\r\nb\r\n', blob: repo.git('rev-parse', 'main:crlf.txt') });
    expect(file.refs).toHaveLength(1);
    const [ref] = file.refs;
    expect(await client.json('GET', `/v1/records/${ref}`)).toMatchObject({ collection: 'commits', key: file.body['commit'] });
    expect((await body('files', 'bom.txt')).body['text']).toBe('\ufeffa');
    expect((await body('files', 'cesu.bin')).body).toMatchObject({ base64: '7aCA', size: 3 });
    expect((await body('files', 'link')).body).toMatchObject({ mode: '100644', text: 'plain\n' });
    expect((await body('files', 'empty')).body).toMatchObject({ mode: '120000', text: 'README' });
  });
});

describe('importing again', () => {
  it('adds only what is new', async () => {
    repo = makeAwkwardRepository();
    const first = await bringIn(repo.path);
    expect(await importGit(client, repo.path, { ...IMPORT_DEFAULTS })).toMatchObject({
      commits: 0,
      files: 0,
      known: first.summary.commits,
    });
    repo.add([{ files: [{ path: 'later', content: 'later\n' }] }, { files: [{ path: 'later' }] }]);
    const second = await bringIn(repo.path);
    expect(second.summary).toMatchObject({ commits: 2, files: 1, tombstones: 1, known: first.summary.commits });
  });

  it('follows another branch, and back, with every tree exact', async () => {
    repo = makeRepository();
    repo.add([
      {
        files: [
          { path: 'a', content: '1' },
          { path: 'b', content: '1' },
        ],
      },
      { files: [{ path: 'a', content: '2' }] },
    ]);
    repo.add([{ branch: 'other', from: 'refs/heads/main^0', files: [{ path: 'other', content: 'x' }, { path: 'b' }] }]);
    repo.add([
      {
        files: [
          { path: 'a', content: '3' },
          { path: 'c', content: '3' },
        ],
      },
    ]);
    await bringIn(repo.path);
    expect((await bringIn(repo.path, { ref: 'other' })).summary).toMatchObject({ commits: 1, known: 2 });
    repo.add([{ files: [{ path: 'd', content: '4' }] }]);
    expect((await bringIn(repo.path)).summary).toMatchObject({ commits: 1, known: 3 });
  });

  it("refuses another repository's history in the same collections", async () => {
    repo = makeRepository();
    repo.add([{ files: [{ path: 'a', content: '1' }] }]);
    await bringIn(repo.path);
    const stranger = makeRepository();
    stranger.add([{ message: 'stranger\n', files: [{ path: 'b', content: '1' }] }]);
    await expect(importGit(client, stranger.path, { ...IMPORT_DEFAULTS })).rejects.toThrow("another repository's history");
    const summary = await importGit(client, stranger.path, { ...IMPORT_DEFAULTS, commits: 'c2', files: 'f2', group: 'two' });
    expect((await verifyGit(client, stranger.path, summary.tip, { commits: 'c2', files: 'f2' })).differences).toEqual([]);
    stranger.remove();
  });

  it('finishes a commit that an earlier run left half done', async () => {
    repo = makeRepository();
    repo.add([
      { files: [{ path: 'old', content: '0' }] },
      { files: [...Array.from({ length: 20 }, (_, i) => ({ path: `f${i}`, content: `${i}` })), { path: 'old' }] },
    ]);
    const failing = afterBatch(4, () => {
      throw new Error('gone');
    });
    const small = { ...IMPORT_DEFAULTS, maxBatchRecords: 8 };
    await expect(importGit(failing, repo.path, small)).rejects.toThrow('gone');
    const { summary } = await bringIn(repo.path, small);
    expect(summary).toMatchObject({ commits: 1, known: 1 });
  });
});

describe('importing over a connection that fails', () => {
  it('sends again, and takes a batch that had got through for done', async () => {
    repo = makeRepository();
    repo.add([{ files: [{ path: 'a', content: '1' }] }, { files: [{ path: 'b', content: '2' }] }, { files: [{ path: 'a' }] }]);
    let cut = 0;
    const flaky = afterBatch(2, (answer) => {
      cut += 1;
      if (cut === 1) throw new ConnectionError('cut');
      return answer;
    });
    const summary = await importGit(flaky, repo.path, { ...IMPORT_DEFAULTS });
    expect(cut).toBeGreaterThan(1);
    expect(summary.commits).toBe(3);
    expect((await verifyGit(client, repo.path, summary.tip, { commits: 'commits', files: 'files' })).differences).toEqual([]);
    const { collections } = await client.json<{ collections: { name: string; versions: number }[] }>('GET', '/v1/collections');
    expect(collections.find(({ name }) => name === 'files')?.versions).toBe(3);
  });
});

describe('varve import git', () => {
  it('tells people what it did and could not do, and machines in JSON', async () => {
    repo = makeAwkwardRepository();
    const first = await server.varve(['import', 'git', repo.path, '--verify']);
    expect(first.code).toBe(0);
    expect(first.out).toMatch(/^imported 25 commits: \d+ file versions, \d+ tombstones\n\d+ commits got another time/);
    expect(first.out).toContain('verified 25 commits');
    expect(first.err).toContain('could not take tab\\x09here: holds control characters');
    expect(first.err).toContain('skipped submodule sub');
    expect(first.err).toContain('content of large.txt omitted: 1,048,576 bytes are over the body limit');
    const again = await server.varve(['import', 'git', repo.path]);
    expect(again).toEqual({ code: 0, err: '', out: `up to date: 25 commits of ${repo.path} were there already\n` });
    expect(JSON.parse((await server.varve(['import', 'git', repo.path, '--json'])).out)).toMatchObject({ commits: 0, known: 25 });
    expect(await server.varve(['import', 'git', repo.path, '--ref', 'nope'])).toMatchObject({ code: 1, out: '' });
    expect((await server.varve(['import', 'git', repo.path, '--ref=-x'])).code).toBe(2);
  });

  it('finds a difference with --verify, and exits 1', async () => {
    repo = makeRepository();
    repo.add([
      {
        files: [
          { path: 'a', content: '1' },
          { path: 'b', content: '2' },
        ],
      },
    ]);
    await server.varve(['import', 'git', repo.path]);
    await server.varve(['delete', 'files', 'a']);
    await server.varve(['put', 'files', 'b', '{"mode":"100644","blob":"0","size":1,"text":"x"}']);
    repo.add([{ files: [{ path: 'c', content: '3' }] }]);
    const ran = await server.varve(['import', 'git', repo.path, '--verify']);
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('a is missing, in git 100644');
    expect(ran.err).toContain('b is 100644 0, in git 100644');
    expect(ran.err).toContain('does not hold the content');
  });
});

describe('importing what does not fit', () => {
  it('splits a commit over the batch limit, says so, and as of its record the tree is exact', async () => {
    repo = makeRepository();
    const files = Array.from({ length: 50 }, (_, i) => ({ path: `dir/${i}`, content: `content ${i}` }));
    repo.add([{ files }, { files: files.map(({ path }) => ({ path })) }, { files: [{ path: 'last', content: '' }] }]);
    const { summary, notes } = await bringIn(repo.path, { maxBatchRecords: 12 });
    expect(summary).toMatchObject({ commits: 3, files: 51, tombstones: 50, split: 2 });
    expect(notes.filter(({ kind }) => kind === 'split')).toHaveLength(2);
    const { refs } = await body('files', 'last');
    expect(refs).toHaveLength(1);
  });

  it('works on a shallow clone, and goes on after it was deepened', async () => {
    repo = makeAwkwardRepository();
    const clone = makeRepository();
    clone.git('fetch', '--quiet', '--depth=5', `file://${repo.path}`, 'main:main');
    const first = await bringIn(clone.path, { ref: 'main' });
    expect(first.summary).toMatchObject({ commits: 5, shallow: true });
    repo.add([{ files: [{ path: 'later', content: 'later\n' }] }]);
    clone.git('fetch', '--quiet', '--unshallow', `file://${repo.path}`, 'main:main');
    const again = await importGit(client, clone.path, { ...IMPORT_DEFAULTS, ref: 'main' });
    expect(again.commits).toBe(1);
    clone.remove();
  });

  it('says which ref or repository is not there', async () => {
    repo = makeRepository();
    await expect(importGit(client, repo.path, { ...IMPORT_DEFAULTS })).rejects.toThrow("'HEAD' names no commit");
    await expect(importGit(client, '/nonexistent', { ...IMPORT_DEFAULTS })).rejects.toThrow('git: ');
  });
});

describe("the project's own repository", () => {
  it('comes in whole, and every tree is what git says', async () => {
    const { summary } = await bringIn(PROJECT);
    expect(summary.commits).toBeGreaterThan(0);
  }, 60_000);
});
