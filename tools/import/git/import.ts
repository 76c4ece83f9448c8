/**
 * `varve import git`: from a ref to records. Sequential where order matters (batches), ahead of itself where it
 * does not (reading git).
 *
 * Which commits: those of the ref's first-parent history down to the first one that is known. What each of
 * them changed is git's diff against its first parent, except where `files` does not hold that parent's tree:
 * for the first commit after another branch, a rewritten history or an interrupted run, it is what differs
 * between `files` as it stands and the commit's tree. So `files` is each commit's tree, always.
 */
import type { HttpClient } from '../../http-client.js';
import { BlobReader } from './blobs.js';
import { GitError, runGit, streamGit } from './git.js';
import { type GitChange, type GitCommit, readLog } from './log.js';
import { partsOf, readAhead } from './parts.js';
import { commitBody, isFile, keyOf, NO_MODE, type Note } from './records.js';
import { type Imported, ImportTarget, type TargetNames } from './target.js';
import { readTree } from './tree.js';

export interface ImportOptions extends TargetNames {
  readonly ref: string;
  /** The server's limits. */
  readonly maxBody: number;
  readonly maxBatchBytes: number;
  readonly maxBatchRecords: number;
  readonly note?: (note: Note) => void;
  readonly progress?: (done: number, total: number) => void;
}

export interface ImportSummary {
  /** What the ref points to. */
  readonly tip: string;
  readonly commits: number;
  /** Of the ref's history, there before. */
  readonly known: number;
  readonly files: number;
  readonly tombstones: number;
  /** Paths left out because they cannot be keys, counted once a commit. */
  readonly skipped: number;
  readonly submodules: number;
  readonly omitted: number;
  readonly missing: number;
  readonly replacedTexts: number;
  readonly split: number;
  /** Batches whose time was moved past the newest record's. */
  readonly shifted: number;
  readonly shallow: boolean;
}

export const IMPORT_DEFAULTS = {
  ref: 'HEAD',
  commits: 'commits',
  files: 'files',
  group: 'git',
  maxBody: 1024 * 1024,
  maxBatchBytes: 32 * 1024 * 1024,
  maxBatchRecords: 65_536,
} as const;

export async function importGit(client: HttpClient, repo: string, options: ImportOptions): Promise<ImportSummary> {
  const tip = await resolveCommit(repo, options.ref);
  const shallow = (await runGit(repo, ['rev-parse', '--is-shallow-repository'])).toString().trim() === 'true';
  const target = new ImportTarget(client, options);
  await target.prepare();
  const imported = await target.imported();
  await refuseStrangers(repo, imported, shallow, options);
  const resuming = imported.newest?.incomplete === true ? imported.newest : undefined;
  if (resuming !== undefined) {
    imported.ids.delete(resuming.sha);
    target.resume(resuming.sha, resuming.id);
  }

  const { fresh, known } = await countNew(repo, tip, imported.ids);
  const counts = { commits: 0, files: 0, tombstones: 0 };
  const notes: Record<Note['kind'], number> = { path: 0, submodule: 0, omitted: 0, missing: 0, text: 0, message: 0, split: 0 };
  const note = (said: Note) => {
    notes[said.kind] += 1;
    options.note?.(said);
  };
  options.progress?.(0, fresh);
  if (fresh > 0) {
    const base = imported.newest === undefined ? undefined : { sha: resuming === undefined ? imported.newest.sha : undefined, target };
    const commits = rebased(repo, readLog(repo, tip, fresh), base);
    const blobs = new BlobReader(repo, options.maxBody);
    try {
      for await (const part of readAhead(partsOf(commits, blobs, options, note))) {
        await target.send(part, (incomplete) => commitBody(part.commit, options.maxBody, incomplete ? () => {} : note, incomplete));
        for (const item of part.items) counts[item.body === undefined ? 'tombstones' : 'files'] += 1;
        if (part.last) counts.commits += 1;
        options.progress?.(counts.commits, fresh);
      }
    } finally {
      blobs.close();
    }
  }
  return {
    tip,
    ...counts,
    known,
    skipped: notes.path,
    submodules: notes.submodule,
    omitted: notes.omitted,
    missing: notes.missing,
    replacedTexts: notes.text,
    split: notes.split,
    shifted: target.shifted,
    shallow,
  };
}

export async function resolveCommit(repo: string, ref: string): Promise<string> {
  if (ref.startsWith('-')) throw new GitError(`'${ref}' is not a ref`);
  try {
    return (await runGit(repo, ['rev-parse', '--verify', '--quiet', `${ref}^{commit}`])).toString().trim();
  } catch (error) {
    const inside = await runGit(repo, ['rev-parse', '--git-dir']).then(
      () => true,
      (cause: unknown) => cause as GitError,
    );
    if (inside !== true) throw inside;
    throw new GitError(`'${ref}' names no commit in ${repo}`, { cause: error });
  }
}

/** How many commits are to be imported; the rest of the history is known. */
async function countNew(repo: string, tip: string, ids: ReadonlyMap<string, string>): Promise<{ fresh: number; known: number }> {
  let fresh = 0;
  let known = 0;
  let rest = '';
  for await (const chunk of streamGit(repo, ['rev-list', '--first-parent', tip, '--'])) {
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const sha of lines) {
      if (known > 0 || ids.has(sha)) known += 1;
      else fresh += 1;
    }
  }
  return { fresh, known };
}

/** Another repository's files must not be ended by this one's commits. */
async function refuseStrangers(repo: string, imported: Imported, shallow: boolean, names: TargetNames): Promise<void> {
  if (imported.newest === undefined || shallow) return;
  const { sha } = imported.newest;
  await runGit(repo, ['cat-file', '-e', `${sha}^{commit}`]).catch((cause: unknown) => {
    throw new Error(
      `'${names.commits}' holds another repository's history (${repo} has no commit ${sha}): choose other collections with --commits and --files`,
      { cause },
    );
  });
}

/** Gives the first commit the changes that lead from `files` as it stands to its tree. */
async function* rebased(
  repo: string,
  commits: AsyncGenerator<GitCommit>,
  base: { readonly sha: string | undefined; readonly target: ImportTarget } | undefined,
): AsyncGenerator<GitCommit> {
  let first = true;
  for await (const commit of commits) {
    const direct = !first || base === undefined || (base.sha !== undefined && commit.parents[0] === base.sha);
    yield direct ? commit : { ...commit, changes: await changesFrom(await base.target.files(), repo, commit.sha) };
    first = false;
  }
}

async function changesFrom(files: Map<string, { mode: string; blob: string }>, repo: string, sha: string): Promise<GitChange[]> {
  const changes: GitChange[] = [];
  for await (const { mode, blob, path } of readTree(repo, sha)) {
    const named = keyOf(path);
    const held = 'key' in named ? files.get(named.key) : undefined;
    if ('key' in named && isFile(mode)) files.delete(named.key);
    if (held?.mode !== mode || held.blob !== blob) changes.push({ oldMode: NO_MODE, newMode: mode, blob, path });
  }
  const gone = [...files].map(([key, { mode, blob }]) => ({
    oldMode: mode,
    newMode: NO_MODE,
    blob: blob.replace(/./g, '0'),
    path: Buffer.from(key),
  }));
  return [...changes, ...gone];
}
