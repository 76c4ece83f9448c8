/**
 * Blob contents from one long-lived `git cat-file --batch`: a question is a line with an object id, an answer
 * a line `<oid> <type> <size>`, the bytes, and a newline. Answers come in the order of the questions.
 *
 * Never holds more of a blob than `maxBytes`: a larger one is read past and answered by its size alone.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { GitError, outcome, spawnGit } from './git.js';

export type GitBlob =
  | { readonly kind: 'content'; readonly size: number; readonly bytes: Buffer }
  | { readonly kind: 'too-large'; readonly size: number }
  /** The repository does not have it (a partial clone, or damage). */
  | { readonly kind: 'missing' };

interface Question {
  resolve(blob: GitBlob): void;
  reject(error: unknown): void;
}

export class BlobReader {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #maxBytes: number;
  readonly #questions: Question[] = [];
  #heading: Buffer[] = [];
  /** The blob being read: bytes still to come, its newline included. */
  #size = 0;
  #left = 0;
  #parts: Buffer[] = [];
  #failure: Error | undefined;

  constructor(repo: string, maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#child = spawnGit(repo, ['cat-file', '--batch']);
    this.#child.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    void outcome(this.#child).then((error) => this.#fail(error ?? new GitError('git cat-file ended early')));
  }

  read(oid: string): Promise<GitBlob> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const answer = new Promise<GitBlob>((resolve, reject) => {
      this.#questions.push({ resolve, reject });
      this.#child.stdin.write(`${oid}\n`);
    });
    answer.catch(() => {}); // whoever asked may have given up by the time this fails
    return answer;
  }

  close(): void {
    this.#fail(new GitError('git cat-file was closed'));
    this.#child.kill();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const question of this.#questions.splice(0)) question.reject(this.#failure);
  }

  #take(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = chunk.subarray(at, at + this.#left);
        if (this.#size <= this.#maxBytes) this.#parts.push(taken);
        this.#left -= taken.length;
        at += taken.length;
        if (this.#left === 0) this.#finish();
      } else {
        const end = chunk.indexOf(0x0a, at);
        this.#heading.push(chunk.subarray(at, end === -1 ? undefined : end));
        if (end === -1) return;
        at = end + 1;
        const line = Buffer.concat(this.#heading).toString('latin1');
        this.#heading = [];
        this.#begin(line);
      }
    }
  }

  #begin(line: string): void {
    const size = / \w+ (\d+)$/.exec(line)?.[1];
    if (size === undefined) {
      this.#questions.shift()?.resolve({ kind: 'missing' });
    } else {
      this.#size = Number(size);
      this.#left = this.#size + 1;
    }
  }

  #finish(): void {
    const size = this.#size;
    const bytes = Buffer.concat(this.#parts).subarray(0, size);
    this.#parts = [];
    this.#questions.shift()?.resolve(size > this.#maxBytes ? { kind: 'too-large', size } : { kind: 'content', size, bytes });
  }
}
