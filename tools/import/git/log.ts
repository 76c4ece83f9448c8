/**
 * Reads `git log --raw -z` into commits and the paths each one changed against its first parent.
 *
 * With `-z` the output is a sequence of NUL-terminated pieces: ten of the format below, then an empty one,
 * then for each changed path `:<old mode> <new mode> <old oid> <new oid> <status>` and the path. The next
 * commit begins with its sha, which cannot begin with a colon: so the pieces tell what they are. The first
 * `:` of a commit stands after a newline.
 */
import { type GitDate, gitDate } from './date.js';
import { splitNul, streamGit } from './git.js';
import { looseText } from './text.js';

export interface GitPerson {
  readonly name: string;
  readonly email: string;
}

export interface GitChange {
  /** As git writes it, six octal digits; `000000` where the path did not exist. */
  readonly oldMode: string;
  readonly newMode: string;
  /** Object id of the new content, all zeros for a deletion. */
  readonly blob: string;
  /** As in the tree: any bytes but NUL. */
  readonly path: Buffer;
}

export interface GitCommit {
  readonly sha: string;
  readonly parents: readonly string[];
  readonly author: GitPerson;
  readonly authored: GitDate;
  readonly committer: GitPerson;
  readonly committed: GitDate;
  readonly subject: string;
  readonly message: string;
  /** Names or message held bytes that are not UTF-8. */
  readonly replacedText: boolean;
  readonly changes: readonly GitChange[];
}

const FIELDS = ['%H', '%P', '%an', '%ae', '%ad', '%cn', '%ce', '%cd', '%s', '%B'];
const RAW = ['--raw', '-r', '-z', '--no-abbrev', '--no-renames', '--no-relative', '--ignore-submodules=none', '--no-ext-diff'];

/** The newest `count` commits of the first-parent history of `tip`, oldest first. */
export function readLog(repo: string, tip: string, count: number): AsyncGenerator<GitCommit> {
  const format = `--format=tformat:${FIELDS.map((field) => `${field}%x00`).join('')}`;
  const args = [
    'log',
    '--first-parent',
    '--diff-merges=first-parent',
    '--reverse',
    ...RAW,
    '--no-notes',
    '--no-color',
    '--encoding=UTF-8',
    '--date=raw',
    format,
  ];
  return parseLog(streamGit(repo, [...args, `--max-count=${count}`, tip, '--']));
}

export async function* parseLog(chunks: AsyncIterable<Buffer>): AsyncGenerator<GitCommit> {
  let fields: Buffer[] = [];
  let changes: GitChange[] = [];
  let heading: Buffer | undefined;
  for await (const piece of splitNul(chunks)) {
    if (heading !== undefined) {
      changes.push(change(heading, piece));
      heading = undefined;
    } else if (fields.length < FIELDS.length) {
      fields.push(piece);
    } else if (piece.length > 0) {
      const start = piece[0] === 0x0a ? 1 : 0;
      if (piece[start] === 0x3a) {
        heading = piece.subarray(start);
      } else {
        yield commit(fields, changes);
        fields = [piece];
        changes = [];
      }
    }
  }
  if (fields.length === FIELDS.length) yield commit(fields, changes);
}

function commit(fields: readonly Buffer[], changes: readonly GitChange[]): GitCommit {
  let replacedText = false;
  const text = (index: number) => {
    const read = looseText(fields[index] ?? Buffer.alloc(0));
    replacedText ||= read.replaced;
    return read.text;
  };
  return {
    sha: text(0),
    parents: text(1)
      .split(' ')
      .filter((parent) => parent !== ''),
    author: { name: text(2), email: text(3) },
    authored: gitDate(text(4)),
    committer: { name: text(5), email: text(6) },
    committed: gitDate(text(7)),
    subject: text(8),
    message: text(9),
    replacedText,
    changes,
  };
}

function change(heading: Buffer, path: Buffer): GitChange {
  const [oldMode, newMode, , blob] = heading.toString('latin1').slice(1).split(' ');
  if (oldMode === undefined || newMode === undefined || blob === undefined) throw new Error(`git log said '${heading.toString('latin1')}'`);
  return { oldMode, newMode, blob, path };
}
