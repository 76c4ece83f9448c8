/** What copies cost, measured small: that it runs, and what it says. Nothing is said about time, for the machine may be busy. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { cliCommand } from '../../../tools/faults/server-process.js';
import { temporaryDirectory } from '../cli.js';

const root = temporaryDirectory();
afterAll(() => root.remove());

/** Beside the command line, wherever that is run from. */
function script(): string[] {
  const command = cliCommand();
  const cli = command.at(-1)!;
  const built = path.join(path.dirname(cli), 'bench/copies.js');
  return [...command.slice(0, -1), existsSync(built) ? built : path.join(path.dirname(cli), 'bench/copies.ts')];
}

it('measures what a quorum costs a writer, and leaves nothing behind', { timeout: 120_000 }, async () => {
  const out = path.join(root.path, 'copies.json');
  const small = ['--only', 'acks', '--puts', '8', '--clients', '2', '--dir', root.path, '--out', out];
  await promisify(execFile)(process.execPath, [...script(), ...small]);
  const { acks, ...rest } = JSON.parse(readFileSync(out, 'utf8')) as { acks: Record<string, Record<string, number>> };
  expect(rest).toEqual({});
  expect(Object.keys(acks)).toEqual(['local, 1 client', 'quorum, 1 client', 'local, 2 clients', 'quorum, 2 clients']);
  for (const figures of Object.values(acks)) expect(Math.min(...Object.values(figures))).toBeGreaterThan(0);
  expect(readdirSync(root.path)).toEqual(['copies.json']);
});
