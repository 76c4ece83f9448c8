import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BlobReader } from '../../../tools/import/git/blobs.js';
import { gitDate } from '../../../tools/import/git/date.js';
import { GitError, runGit, splitNul } from '../../../tools/import/git/git.js';
import { type GitCommit, parseLog, readLog } from '../../../tools/import/git/log.js';
import { keyOf } from '../../../tools/import/git/records.js';
import { readTree } from '../../../tools/import/git/tree.js';
import { makeAwkwardRepository, UNTAKEABLE } from './awkward-repository.js';
import type { MadeRepository } from './made-repository.js';

let repo: MadeRepository;
let commits: GitCommit[];

beforeAll(async () => {
  repo = makeAwkwardRepository();
  commits = [];
  for await (const commit of readLog(repo.path, 'main', 1000)) commits.push(commit);
});
afterAll(() => repo.remove());

const named = (subject: string) => commits.find((commit) => commit.subject === subject) as GitCommit;

describe('reading git log', () => {
  it('gives the first-parent history oldest first', () => {
    const expected = repo.git('rev-list', '--first-parent', '--reverse', 'main').split('\n');
    expect(commits.map((commit) => commit.sha)).toEqual(expected);
    expect(named('merge').parents).toHaveLength(2);
    expect(commits[0]?.parents).toEqual([]);
  });

  it('gives changes that, applied in order, are the tree of every commit', async () => {
    const tree = new Map<string, string>();
    for (const commit of commits) {
      for (const { path, newMode, blob } of commit.changes) {
        if (newMode === '000000') tree.delete(path.toString('latin1'));
        else tree.set(path.toString('latin1'), `${newMode} ${blob}`);
      }
      const expected = new Map<string, string>();
      for await (const { path, mode, blob } of readTree(repo.path, commit.sha)) expected.set(path.toString('latin1'), `${mode} ${blob}`);
      expect(tree).toEqual(expected);
    }
  });

  it('keeps messages, people and the offsets of dates', () => {
    const message = named('subject still subject');
    expect(message.message).toBe('subject\nstill subject\n\nbody "quoted" \\ \u2028 🦆\n');
    expect(message.author).toEqual({ name: '', email: '' });
    expect(message.committer).toEqual({ name: 'C Mitter', email: 'committer@example.com' });
    expect(named('half an hour').authored.text).toBe('2004-11-09T08:03:19-03:30');
    expect(named('half an hour').committed).toEqual({ micros: 1_100_000_000_000_000, text: '2004-11-09T17:03:20+05:30' });
    expect(commits[1]).toMatchObject({ subject: '', message: '' });
  });

  it('turns declared encodings into UTF-8 and says where bytes had to be replaced', () => {
    expect(named('café in latin1')).toMatchObject({ author: { name: 'René' }, replacedText: false });
    expect(named('caf\ufffd undeclared')).toMatchObject({ replacedText: true });
  });

  it('parses the same however the bytes are cut', async () => {
    const sha = 'a'.repeat(40);
    const whole = Buffer.from(
      `${sha}\0\0n\0e\x000 +0000\0n\0e\x000 +0000\0s\0:m\n\0\0\n:000000 100644 0 1 A\0:p\0${sha}\0p\0n\0e\x001 +0000\0n\0e\x001 +0000\0\0\0`,
    );
    async function* cut(size: number) {
      for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
    }
    for (let size = 1; size < 60; size += 1) {
      const found = [];
      for await (const commit of parseLog(cut(size))) found.push([commit.message, commit.changes.map((change) => String(change.path))]);
      expect(found).toEqual([
        [':m\n', [':p']],
        ['', []],
      ]);
    }
  });

  it('says in one line what git says', async () => {
    await expect(runGit('/nonexistent', ['log'])).rejects.toThrow(GitError);
    await expect(runGit(repo.path, ['log', 'no-such-ref', '--'])).rejects.toThrow(/^git: .*no-such-ref/);
  });

  it('splits at NUL and keeps a last piece without one', async () => {
    async function* source() {
      yield Buffer.from('a\0b');
      yield Buffer.from('c\0\0d');
    }
    const pieces: string[] = [];
    for await (const piece of splitNul(source())) pieces.push(piece.toString());
    expect(pieces).toEqual(['a', 'bc', '', 'd']);
  });
});

describe('reading blobs', () => {
  it('answers many questions in order, and large ones by their size alone', async () => {
    const blobs = new BlobReader(repo.path, 1000);
    const oid = (path: string, commit = 'main') => repo.git('rev-parse', `${commit}:${path}`);
    const binary = named('binary').sha;
    const asked = ['crlf.txt', 'just.txt', 'bom.txt', 'link'].map((path) => blobs.read(oid(path)));
    const empty = blobs.read(oid('empty', binary));
    const missing = blobs.read('f'.repeat(40));
    const image = blobs.read(oid('image.bin', binary));
    expect(await asked[0]).toMatchObject({ kind: 'content', bytes: Buffer.from('a\r\nb\r\n') });
    expect(await asked[1]).toEqual({ kind: 'too-large', size: 1024 * 1024 - 300 });
    expect(await asked[2]).toMatchObject({ size: 4 });
    expect(await asked[3]).toMatchObject({ bytes: Buffer.from('plain\n') });
    expect(await empty).toMatchObject({ kind: 'content', size: 0 });
    expect(await missing).toEqual({ kind: 'missing' });
    expect(await image).toMatchObject({ bytes: Buffer.from([0, 255, 128, 10, 13, 0]) });
    blobs.close();
    await expect(blobs.read('f'.repeat(40))).rejects.toThrow('closed');
  });

  it('fails every question where there is no repository', async () => {
    const blobs = new BlobReader('/nonexistent', 1000);
    await expect(blobs.read('f'.repeat(40))).rejects.toThrow(GitError);
  });
});

describe('keys and dates', () => {
  it('takes every path but those with control characters, of wrong bytes, or too long', () => {
    for (const path of UNTAKEABLE) expect(keyOf(Buffer.from(path, 'latin1'))).toHaveProperty('reason');
    expect(keyOf(Buffer.from('tab\there'))).toEqual({ shown: 'tab\\x09here', reason: 'holds control characters' });
    expect(keyOf(Buffer.from('größe/🦆'))).toEqual({ key: 'größe/🦆' });
    expect(keyOf(Buffer.from('x'.repeat(512)))).toHaveProperty('key');
  });

  it('writes dates that RFC 3339 takes, whatever git holds', () => {
    expect(gitDate('1234567890 +0200').text).toBe('2009-02-14T01:31:30+02:00');
    expect(gitDate('1234567890 +051800')).toEqual({ micros: 1_234_567_890_000_000, text: '2009-02-13T23:31:30Z' });
    expect(gitDate('1234567890 -2500').text).toBe('2009-02-13T23:31:30Z');
    expect(gitDate('0 -0500').text).toBe('1970-01-01T00:00:00Z');
    expect(gitDate('').text).toBe('1970-01-01T00:00:00Z');
    expect(gitDate('99999999999999 +0000').text).toBe('9999-12-31T23:59:59Z');
  });
});
