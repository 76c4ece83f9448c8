/**
 * Holds an import against git: for every commit of the ref's first-parent history, `files` as of the commit's
 * record is `git ls-tree -r` of the commit: the same paths, modes and blobs, no more and no fewer, and each
 * content hashes to the blob it says it is. Paths that cannot be keys and submodules are left out on git's side.
 */
import { createHash } from 'node:crypto';
import type { HttpClient } from '../../http-client.js';
import { runGit } from './git.js';
import { isFile, keyOf } from './records.js';
import { readTree } from './tree.js';

export interface Verified {
  readonly commits: number;
  /** Tree entries compared, over all commits. */
  readonly entries: number;
  /** Contents hashed, each version once. */
  readonly contents: number;
  /** A line each. Empty: everything is the same. */
  readonly differences: readonly string[];
}

export interface VerifyOptions {
  readonly commits: string;
  readonly files: string;
  readonly progress?: (done: number, total: number) => void;
}

interface Listed {
  readonly key: string;
  readonly id: string;
}

interface FileRecord {
  readonly body: {
    readonly mode?: string;
    readonly blob?: string;
    readonly text?: string;
    readonly base64?: string;
    readonly size?: number;
  };
}

/** What one record of `files` says. Records never change: each is read once. */
interface Content {
  /** `<mode> <blob>` */
  readonly says: string;
  readonly isBlob: boolean;
}

/** Records asked for at a time. */
const AT_ONCE = 32;
const MAX_DIFFERENCES = 1000;

export async function verifyGit(client: HttpClient, repo: string, tip: string, options: VerifyOptions): Promise<Verified> {
  const shas = (await runGit(repo, ['rev-list', '--first-parent', '--reverse', tip, '--'])).toString('latin1').trim().split('\n');
  const ids = new Map<string, string>();
  for await (const { key, id } of client.lines<{ key: string; id: string }>(`/v1/collections/${options.commits}/entities`, {
    query: { bodies: false },
  })) {
    ids.set(key, id);
  }
  const differences: string[] = [];
  const contents = new Map<string, Content>();
  let entries = 0;
  let done = 0;
  for (const sha of shas) {
    const id = ids.get(sha);
    if (id === undefined) differences.push(`${sha}: was not imported`);
    else {
      const tree = await treeOf(repo, sha);
      entries += tree.size;
      const listed: Listed[] = [];
      const query = { asOf: id, bodies: false };
      for await (const entity of client.lines<Listed>(`/v1/collections/${options.files}/entities`, { query })) listed.push(entity);
      await readContents(client, listed, contents);
      compare(sha, tree, listed, contents, differences);
    }
    done += 1;
    options.progress?.(done, shas.length);
    if (differences.length >= MAX_DIFFERENCES) break;
  }
  return { commits: done, entries, contents: contents.size, differences };
}

async function readContents(client: HttpClient, listed: readonly Listed[], contents: Map<string, Content>): Promise<void> {
  const unread = listed.filter(({ id }) => !contents.has(id));
  for (let from = 0; from < unread.length; from += AT_ONCE) {
    const read = unread.slice(from, from + AT_ONCE).map(async ({ id }) => {
      const { body } = await client.json<FileRecord>('GET', `/v1/records/${id}`);
      contents.set(id, { says: `${body.mode} ${body.blob}`, isBlob: contentIsBlob({ body }) });
    });
    await Promise.all(read);
  }
}

/** Empties `tree` on the way. */
function compare(
  sha: string,
  tree: Map<string, string>,
  listed: readonly Listed[],
  contents: ReadonlyMap<string, Content>,
  differences: string[],
): void {
  for (const { key, id } of listed) {
    const expected = tree.get(key);
    const found = contents.get(id);
    tree.delete(key);
    if (found?.says !== expected) differences.push(`${sha}: ${key} is ${found?.says}, in git ${expected ?? 'not there'}`);
    if (found?.isBlob === false) differences.push(`${sha}: ${key} does not hold the content of its blob`);
  }
  for (const [path, expected] of tree) differences.push(`${sha}: ${path} is missing, in git ${expected}`);
}

async function treeOf(repo: string, sha: string): Promise<Map<string, string>> {
  const tree = new Map<string, string>();
  for await (const { mode, blob, path } of readTree(repo, sha)) {
    const named = keyOf(path);
    if (isFile(mode) && 'key' in named) tree.set(named.key, `${mode} ${blob}`);
  }
  return tree;
}

/** Omitted contents cannot be held against anything. */
function contentIsBlob({ body }: FileRecord): boolean {
  if (body.text === undefined && body.base64 === undefined) return true;
  const bytes = body.text === undefined ? Buffer.from(body.base64 ?? '', 'base64') : Buffer.from(body.text);
  const hash = createHash(body.blob?.length === 64 ? 'sha256' : 'sha1');
  return body.size === bytes.length && hash.update(`blob ${bytes.length}\0`).update(bytes).digest('hex') === body.blob;
}
