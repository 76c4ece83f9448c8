/**
 * The way from a fresh clone to a running server or a test run: `node tools/build/bootstrap.mjs build|start|test [arguments]`.
 *
 * Plain JavaScript on Node's built-ins alone, for it runs before anything is installed.
 *
 *     install   only where node_modules is missing or is not what package-lock.json says (or was made for another Node)
 *     build     only where a source is not the one dist was made from
 *     then      build: nothing more · start: the server, in this very process · test: lint, typecheck, vitest (and, where a browser or
 *               curl is missing and may be installed, Debian's before)
 *
 * The server runs in this process, not in a child, so signals reach it and its exit code is ours.
 * Killed at any moment, it leaves no stamp behind, and the next run does the work again. Everything it says
 * goes to stderr: stdout belongs to the server, and to `npm pack --json`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as stamps from './stamps.mjs';

const ROOT = stamps.ROOT;
const [verb, ...rest] = process.argv.slice(2);

switch (verb) {
  case 'build':
    await prepare();
    break;
  case 'start':
    await prepare();
    await serve(rest);
    break;
  case 'test':
    await prepare();
    bringTools();
    await bin('@biomejs/biome/bin/biome', ['check', '--error-on-warnings', '.']);
    await bin('typescript/bin/tsc', ['-p', 'tsconfig.test.json']);
    await bin('vitest/vitest.mjs', ['run', ...rest]);
    break;
  default:
    say('usage: node tools/build/bootstrap.mjs build|start|test [arguments]');
    process.exitCode = 2;
}

async function prepare() {
  if (!stamps.isInstalled(loadsNativeModules)) {
    say('varve: installing dependencies (better-sqlite3 may compile from source: about a minute)');
    // npm tells scripts where it is; run directly, this file looks for it on the path.
    const npm = process.env.npm_execpath;
    const flags = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
    await (npm ? run(process.execPath, [npm, ...flags]) : run('npm', flags));
  }
  stamps.writeInstallStamp();
  const before = stamps.sourceStamp();
  if (!stamps.isBuilt(before)) {
    say('varve: building');
    stamps.prepareBuild();
    await bin('typescript/bin/tsc', ['-p', 'tsconfig.json']);
    const { bundle } = await import('./bundle.mjs');
    await bundle(join(ROOT, 'dist'));
    // The stamp is of the sources as they were before: one edited meanwhile is built again next time.
    stamps.writeBuildStamp(before);
  }
}

/** Some tests drive a real browser, and some curl. Where one cannot be installed, those tests say what is missing, and the others run. */
function bringTools() {
  const missing = [];
  if (!process.env['VARVE_TEST_BROWSER'] && !['chromium', 'chromium-browser', 'google-chrome'].some(isOnPath)) missing.push('chromium');
  if (!isOnPath('curl')) missing.push('curl');
  if (missing.length === 0 || process.getuid?.() !== 0 || !isOnPath('apt-get')) return;
  say(`varve: installing ${missing.join(' and ')} for the tests that need ${missing.length === 1 ? 'it' : 'them'}`);
  const quietly = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  spawnSync('apt-get', ['update', '-qq'], quietly);
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], quietly);
}

function isOnPath(name) {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
}

/** Becomes `varve serve`. */
async function serve(args) {
  const cli = join(ROOT, 'dist', 'tools', 'cli.js');
  process.argv = [process.execPath, cli, 'serve', ...args];
  await import(pathToFileURL(cli).href);
}

/** A compiled module that was made for another Node throws here. */
function loadsNativeModules() {
  const Database = createRequire(join(ROOT, 'package.json'))('better-sqlite3');
  new Database(':memory:').close();
}

function bin(path, args) {
  return run(process.execPath, [join(ROOT, 'node_modules', path), ...args]);
}

/** Runs a step; where it fails or is interrupted, this process ends the same way. stdout of steps before the server goes to stderr. */
function run(command, args) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['inherit', verb === 'test' ? 'inherit' : 2, 'inherit'] });
  const forward = (signal) => child.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, forward);
  return new Promise((resolve) => {
    child.on('error', (error) => {
      say(`varve: cannot run ${command}: ${error.message}`);
      process.exit(1);
    });
    child.on('close', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM']) process.off(name, forward);
      if (signal) process.kill(process.pid, signal);
      else if (code !== 0) process.exit(code);
      else resolve();
    });
  });
}

function say(line) {
  process.stderr.write(`${line}\n`);
}
