/** `varve import git`: a repository's whole history, every commit one atomic batch. The work is in import/git. */
import { type AddCommand, examples } from '../command.js';
import { GitError } from '../import/git/git.js';
import { IMPORT_DEFAULTS, type ImportSummary, importGit } from '../import/git/import.js';
import type { Note } from '../import/git/records.js';
import { verifyGit } from '../import/git/verify.js';
import { type OnlineOptions, online, positive, withClient } from '../online.js';
import { count, counted, Difference, type Io, printable, say, UsageError, write, writeJson } from '../output.js';
import { progressBar } from '../progress.js';

interface ImportFlags extends OnlineOptions {
  readonly ref: string;
  readonly placement: string;
  readonly commits: string;
  readonly files: string;
  readonly maxBody: number;
  readonly verify?: boolean;
}

/** Notes of one kind beyond these are only counted. */
const NAMED = 20;

export const addImport: AddCommand = (program, io) => {
  const parent = program.command('import').description('bring in history from elsewhere');
  const command = parent.command('git <repo>').description("import a git repository's first-parent history; again: only what is new");
  online(command)
    .option('--ref <ref>', 'branch, tag or commit to walk back from', IMPORT_DEFAULTS.ref)
    .option('--placement <group>', 'placement group of both collections, while they are new', IMPORT_DEFAULTS.group)
    .option('--commits <collection>', 'where commits go', IMPORT_DEFAULTS.commits)
    .option('--files <collection>', 'where files go', IMPORT_DEFAULTS.files)
    .option('--max-body <bytes>', "the server's body limit: larger contents are omitted", positive, IMPORT_DEFAULTS.maxBody)
    .option('--verify', "afterwards compare every commit's files with git's tree; 1 where they differ");
  examples(command, [
    { command: 'varve import git .', does: 'the history of this repository: collections `commits` and `files`' },
    { command: 'varve import git ~/src/linux.git --ref v6.1 --json', does: 'bare repositories too; a summary for machines' },
    { command: 'varve import git . --verify', does: "then checks that `files` as of each commit's record is `git ls-tree -r` of it" },
    {
      command: 'varve import git ../other --commits other-commits --files other-files --placement other',
      does: 'a second repository beside the first',
    },
  ]);
  command.action((repo: string, options: ImportFlags) =>
    withClient(options, io.env, async (client) => {
      const names = { commits: options.commits, files: options.files };
      for (const name of Object.values(names)) {
        if (!/^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(name)) throw new UsageError(`'${name}' cannot be a collection`);
      }
      const bar = progressBar(io, 'commits', options.json);
      const notes: Note[] = [];
      const verify = (tip: string) => {
        const progress = progressBar(io, 'commits verified', options.json);
        return verifyGit(client, repo, tip, { ...names, progress: (done, total) => progress.update(done, total) }).finally(() =>
          progress.stop(),
        );
      };
      let summary: ImportSummary;
      try {
        summary = await importGit(client, repo, {
          ...IMPORT_DEFAULTS,
          ...names,
          ref: options.ref,
          group: options.placement,
          maxBody: options.maxBody,
          note: (note) => notes.push(note),
          progress: (done, total) => bar.update(done, total),
        });
      } catch (error) {
        bar.stop();
        tellNotes(io, notes);
        throw error instanceof GitError && error.message.endsWith('is not a ref') ? new UsageError(error.message) : error;
      }
      bar.stop();
      tellNotes(io, notes);
      const verified = options.verify === true ? await verify(summary.tip) : undefined;
      if (options.json === true) await writeJson(io, { ...summary, ...(verified === undefined ? {} : { verified }) });
      else await write(io, describe(summary, repo));
      if (verified !== undefined && verified.differences.length > 0) {
        for (const difference of verified.differences.slice(0, NAMED)) say(io, printable(difference));
        throw new Difference(`${counted(verified.differences.length, 'difference')} between git and the server`);
      }
      if (verified !== undefined && options.json !== true) {
        await write(
          io,
          `verified ${counted(verified.commits, 'commit')}: ${counted(verified.entries, 'tree entry', 'tree entries')}, ${counted(verified.contents, 'content')}\n`,
        );
      }
    }),
  );
};

function describe(summary: ImportSummary, repo: string): string {
  const { commits, known, files, tombstones, shifted } = summary;
  if (commits === 0) return `up to date: ${counted(known, 'commit')} of ${repo} were there already\n`;
  const lines = [`imported ${counted(commits, 'commit')}: ${counted(files, 'file version')}, ${counted(tombstones, 'tombstone')}`];
  if (known > 0) lines.push(`${counted(known, 'commit')} were there already`);
  if (shifted > 0)
    lines.push(
      `${counted(shifted, 'commit')} got another time than the committer's: it was not later than the one before, or in the future`,
    );
  if (summary.shallow) lines.push('the repository is a shallow clone: its history begins where it was cut');
  return `${lines.join('\n')}\n`;
}

function tellNotes(io: Io, notes: readonly Note[]): void {
  const told = new Map<Note['kind'], number>();
  for (const note of notes) {
    const already = told.get(note.kind) ?? 0;
    told.set(note.kind, already + 1);
    if (already < NAMED) say(io, printable(noteText(note)));
  }
  for (const [kind, total] of told) {
    if (total > NAMED) say(io, `… and ${count(total - NAMED)} more like '${kind}'`);
  }
}

function noteText(note: Note): string {
  const at = `${note.sha.slice(0, 10)}:`;
  switch (note.kind) {
    case 'path':
      return `${at} could not take ${note.path}: ${note.reason}`;
    case 'submodule':
      return `${at} skipped submodule ${note.path}`;
    case 'omitted':
      return `${at} content of ${note.path} omitted: ${counted(note.size, 'byte')} are over the body limit`;
    case 'missing':
      return `${at} content of ${note.path} omitted: the repository lacks blob ${note.blob}`;
    case 'text':
      return `${at} names or message are not UTF-8: replaced what could not be read`;
    case 'message':
      return `${at} message cut: ${counted(note.size, 'byte')} are over the body limit`;
    case 'split':
      return `${at} too large for one batch: split into ${note.parts}`;
  }
}
