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

interface FileRecord {
  readonly id: string;
  readonly key: string;
  readonly body: {
    readonly mode?: string;
    readonly blob?: string;
    readonly text?: string;
    readonly base64?: string;
    readonly size?: number;
  };
}

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
  const hashed = new Set<string>();
  let entries = 0;
  let done = 0;
  for (const sha of shas) {
    const id = ids.get(sha);
    if (id === undefined) differences.push(`${sha}: was not imported`);
    else {
      const tree = await treeOf(repo, sha);
      entries += tree.size;
      for await (const record of client.lines<FileRecord>(`/v1/collections/${options.files}/entities`, { query: { asOf: id } })) {
        const expected = tree.get(record.key);
        tree.delete(record.key);
        const found = `${record.body.mode} ${record.body.blob}`;
        if (found !== expected) differences.push(`${sha}: ${record.key} is ${found}, in git ${expected ?? 'not there'}`);
        if (!hashed.has(record.id)) {
          hashed.add(record.id);
          if (!contentIsBlob(record)) differences.push(`${sha}: ${record.key} does not hold the content of ${record.body.blob}`);
        }
      }
      for (const [path, expected] of tree) differences.push(`${sha}: ${path} is missing, in git ${expected}`);
    }
    done += 1;
    options.progress?.(done, shas.length);
    if (differences.length >= MAX_DIFFERENCES) break;
  }
  return { commits: done, entries, contents: hashed.size, differences };
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
