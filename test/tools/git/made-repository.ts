/**
 * Repositories made for tests by `git fast-import`, which takes what a work tree could not: names in any
 * bytes, any mode, any date. A commit is given as what it changes against its first parent.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface MadeFile {
  /** One char per byte (latin1): `\xff` is a byte that is not UTF-8. */
  readonly path: string;
  readonly mode?: '100644' | '100755' | '120000' | '160000';
  /** Undefined removes the path. For a submodule: the sha it names. */
  readonly content?: string | Buffer;
}

export interface MadeCommit {
  readonly branch?: string;
  /** Branches or marks (`:3`, counted from 1) merged into this commit. */
  readonly merges?: readonly string[];
  /** What the branch begins from, where not from its own tip. */
  readonly from?: string;
  readonly message?: string | Buffer;
  readonly author?: string | Buffer;
  /** `<seconds> <offset>` */
  readonly authored?: string;
  readonly committed?: string;
  readonly encoding?: string;
  readonly files?: readonly MadeFile[];
}

export interface MadeRepository {
  readonly path: string;
  git(...args: string[]): string;
  /** Adds commits; returns their shas. */
  add(commits: readonly MadeCommit[]): string[];
  remove(): void;
}

const START = 1_000_000_000;

export function makeRepository(): MadeRepository {
  const root = mkdtempSync(path.join(tmpdir(), 'varve-git-'));
  const repo = path.join(root, 'made.git');
  const env = { ...process.env, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' };
  for (const name of ['GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE']) delete env[name as keyof typeof env];
  const run = (args: readonly string[], input?: Buffer) =>
    execFileSync('git', ['-C', repo, ...args], { env, input, maxBuffer: 2 ** 28, stdio: ['pipe', 'pipe', 'inherit'] }).toString('utf8');
  execFileSync('git', ['init', '-q', '--bare', '--initial-branch=main', repo], { env });
  let made = 0;
  return {
    path: repo,
    git: (...args) => run(args).trim(),
    add(commits) {
      const shas: string[] = [];
      const stream: Buffer[] = [];
      commits.forEach((commit, index) => stream.push(...commitStream(commit, index + 1, made++)));
      const marks = commits.map((_, index) => `:${index + 1}`);
      stream.push(...marks.map((mark) => Buffer.from(`get-mark ${mark}\n`)), Buffer.from('done\n'));
      shas.push(...run(['fast-import', '--quiet', '--done', '--force'], Buffer.concat(stream)).trim().split('\n'));
      return shas;
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

function commitStream(commit: MadeCommit, mark: number, order: number): Buffer[] {
  const branch = `refs/heads/${commit.branch ?? 'main'}`;
  const when = `${START + order * 60} +0000`;
  const parts: (string | Buffer)[] = [`commit ${branch}\nmark :${mark}\n`];
  parts.push('author ', commit.author ?? 'A U Thor <author@example.com>', ` ${commit.authored ?? when}\n`);
  parts.push(`committer C Mitter <committer@example.com> ${commit.committed ?? when}\n`);
  if (commit.encoding !== undefined) parts.push(`encoding ${commit.encoding}\n`);
  const message = Buffer.from(commit.message ?? `commit ${order}\n`);
  parts.push(`data ${message.length}\n`, message, '\n');
  if (commit.from !== undefined) parts.push(`from ${commit.from}\n`);
  else if (order > 0 && mark === 1) parts.push(`from ${branch}^0\n`);
  for (const merge of commit.merges ?? []) parts.push(`merge ${merge}\n`);
  for (const file of commit.files ?? []) {
    if (file.content === undefined) parts.push(`D ${quoted(file.path)}\n`);
    else if (file.mode === '160000') parts.push(`M 160000 ${file.content.toString()} ${quoted(file.path)}\n`);
    else {
      const content = Buffer.from(file.content);
      parts.push(`M ${file.mode ?? '100644'} inline ${quoted(file.path)}\ndata ${content.length}\n`, content, '\n');
    }
  }
  return parts.map((part) => Buffer.from(part));
}

function quoted(name: string): string {
  let text = '"';
  for (const byte of Buffer.from(name, 'latin1')) {
    text +=
      byte > 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
  }
  return `${text}"`;
}

/** UTF-8 as one char per byte, for paths. */
export function utf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
