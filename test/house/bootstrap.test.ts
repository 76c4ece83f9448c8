/**
 * `npm start` on a house of two files: builds when it must, only then, and becomes the server. What stands for npm only says
 * that it was called, so nothing is installed here.
 */
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT } from './repository.js';

const SERVER = `
import { greeting } from '../engine/greeting.js';
setInterval(() => undefined, 1000);
process.on('SIGTERM', () => process.exit(7));
console.log(greeting + ' ' + process.argv.slice(2).join(' ') + ' ' + process.env['VARVE_DATA']);
`;

let house = '';

beforeEach(() => {
  house = mkdtempSync(join(tmpdir(), 'varve-house-'));
  for (const path of ['tools/build', 'tsconfig.json', 'package.json', 'package-lock.json'])
    cpSync(join(ROOT, path), join(house, path), { recursive: true });
  mkdirSync(join(house, 'engine'));
  writeFileSync(join(house, 'engine/greeting.ts'), "export const greeting = 'hello';\n");
  writeFileSync(join(house, 'tools/cli.ts'), SERVER);
  writeFileSync(join(house, 'npm.mjs'), "console.error('npm', process.argv.slice(2).join(' ')); process.exit(3);\n");
  symlinkSync(join(ROOT, 'node_modules'), join(house, 'node_modules'));
});

afterEach(() => {
  rmSync(house, { recursive: true, force: true });
});

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, npm_execpath: join(house, 'npm.mjs'), VARVE_DATA: '/a/lake' };
}

function build(): { status: number | null; said: string } {
  const { status, stderr, stdout } = spawnSync(process.execPath, ['tools/build/bootstrap.mjs', 'build'], {
    cwd: house,
    env: environment(),
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
  return { status, said: stderr };
}

/** Starts the stub server and waits for its first words. */
async function start(...args: string[]): Promise<{ child: ChildProcessByStdio<null, Readable, null>; words: string }> {
  const child = spawn(process.execPath, ['tools/build/bootstrap.mjs', 'start', ...args], {
    cwd: house,
    env: environment(),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const words = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString().trim()));
    child.once('exit', (code) => reject(new Error(`exited with ${code} before it spoke`)));
  });
  return { child, words };
}

describe('bootstrap', () => {
  it('builds once, and again only when a source has changed', () => {
    expect(build()).toEqual({ status: 0, said: 'varve: building\n' });
    expect(build()).toEqual({ status: 0, said: '' });
    writeFileSync(join(house, 'engine/greeting.ts'), "export const greeting = 'good day';\n");
    expect(build()).toEqual({ status: 0, said: 'varve: building\n' });
    expect(build()).toEqual({ status: 0, said: '' });
  });

  it('writes again what is missing from dist and takes away what has lost its source', () => {
    writeFileSync(join(house, 'engine/old.ts'), 'export const old = 1;\n');
    build();
    expect(existsSync(join(house, 'dist/engine/old.js'))).toBe(true);
    rmSync(join(house, 'engine/old.ts'));
    rmSync(join(house, 'dist/engine/greeting.js'));
    build();
    expect(existsSync(join(house, 'dist/engine/greeting.js'))).toBe(true);
    expect(['js', 'js.map', 'd.ts'].filter((ending) => existsSync(join(house, `dist/engine/old.${ending}`)))).toEqual([]);
  });

  it('fails where a source does not compile, and tries again the next time', () => {
    writeFileSync(join(house, 'engine/greeting.ts'), 'export const greeting: number = "hello";\n');
    expect(build().status).not.toBe(0);
    expect(build().status).not.toBe(0);
    writeFileSync(join(house, 'engine/greeting.ts'), 'export const greeting = "hello";\n');
    expect(build().status).toBe(0);
  });

  it('installs where node_modules is missing, and ends with npm where that fails', () => {
    rmSync(join(house, 'node_modules'));
    const { status, said } = build();
    expect(status).toBe(3);
    expect(said).toMatch(/^varve: installing .+\nnpm ci /);
  });

  it('becomes the server: arguments, environment and signals reach it, its exit code comes back', async () => {
    const { child, words } = await start('--listen', '127.0.0.1:0');
    expect(words).toBe('hello serve --listen 127.0.0.1:0 /a/lake');
    const ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    child.kill('SIGTERM');
    expect(await ended).toEqual({ code: 7, signal: null });
  });
});
