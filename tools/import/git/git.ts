/**
 * Runs git. Owns the processes it starts: every one is either read to its end or killed.
 *
 * Git's own environment (GIT_DIR and its kin, set inside hooks) is taken away, so that REPO means the
 * repository that was named and nothing else. Nothing here writes to a repository.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';

/** Git said no, or could not be started. `message` is one line for a person. */
export class GitError extends Error {
  override readonly name = 'GitError';
}

/** Settings a person may have that would change what git prints. */
const PLAIN = [
  '-c',
  'core.quotePath=false',
  '-c',
  'log.showSignature=false',
  '-c',
  'log.showRoot=true',
  '-c',
  'diff.orderFile=/dev/null',
  '-c',
  'core.fsmonitor=false',
];

export function spawnGit(repo: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  const env: NodeJS.ProcessEnv = { LC_ALL: 'C', GIT_OPTIONAL_LOCKS: '0', GIT_TERMINAL_PROMPT: '0' };
  for (const [name, value] of Object.entries(process.env)) {
    if (!name.startsWith('GIT_') && name !== 'LC_ALL') env[name] = value;
  }
  return spawn('git', ['-C', repo, ...PLAIN, ...args], { env, stdio: 'pipe' });
}

/** The process's output as it comes; throws GitError at the end where git failed. Stopping early kills it. */
export async function* streamGit(repo: string, args: readonly string[]): AsyncGenerator<Buffer> {
  const child = spawnGit(repo, args);
  child.stdin.end();
  const ended = outcome(child);
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer;
    const failure = await ended;
    if (failure !== undefined) throw failure;
  } finally {
    if (child.exitCode === null) child.kill();
  }
}

/** Whole output of a small command. */
export async function runGit(repo: string, args: readonly string[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of streamGit(repo, args)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Resolves once the process is gone: undefined for success. Never rejects, so that it may be left unawaited. */
export function outcome(child: ChildProcessWithoutNullStreams): Promise<GitError | undefined> {
  let said = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    if (said.length < 4096) said += text;
  });
  child.stdin.on('error', () => {}); // EPIPE: the exit status tells more
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(new GitError(`git could not be started: ${error.message}`, { cause: error })));
    child.on('close', (code, signal) => {
      const reason = said.trim().split('\n').at(-1) ?? '';
      resolve(code === 0 ? undefined : new GitError(reason === '' ? `git ended with ${code ?? signal}` : `git: ${reason}`));
    });
  });
}

/** Splits a stream at NUL bytes; the last piece needs none. Pieces are copies or slices of their own: keep them freely. */
export async function* splitNul(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(0); end !== -1; end = chunk.indexOf(0, start)) {
      const piece = chunk.subarray(start, end);
      yield rest.length === 0 ? piece : Buffer.concat([...rest, piece]);
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}
