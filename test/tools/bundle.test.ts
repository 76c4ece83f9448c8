/**
 * Bundles and their bytecode: what is kept is used only where it surely fits, and what runs is the same with it, without it, and
 * without a bundle. Over bundles of one line; the real ones are met by the tests of the package (test/house/package.test.ts).
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT } from '../house/repository.js';

const DOOR = 'engine/index.js';
const ASK = `
import { engine, isWarm } from './load.mjs';
console.log(engine('${DOOR}').answer(), process.argv[2] === 'modules' ? '' : isWarm('engine'));
`;
const KEEP = `
import { writeFileSync } from 'node:fs';
import { engine, keep } from './load.mjs';
engine('${DOOR}').answer();
writeFileSync(new URL('./engine.cache', import.meta.url), keep('engine'));
`;

let dist = '';

beforeEach(() => {
  dist = mkdtempSync(join(tmpdir(), 'varve-bundle-'));
  for (const folder of ['bundle', 'engine']) mkdirSync(join(dist, folder));
  writeFileSync(join(dist, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(dist, 'engine/index.js'), "export const answer = () => 'module';\n");
  writeBundle('bundle');
  copyFileSync(join(ROOT, 'tools/build/load.mjs'), join(dist, 'bundle/load.mjs'));
  writeFileSync(join(dist, 'bundle/ask.mjs'), ASK);
  writeFileSync(join(dist, 'bundle/keep.mjs'), KEEP);
});

afterEach(() => {
  rmSync(dist, { recursive: true, force: true });
});

function writeBundle(answer: string): void {
  const text = `(function (exports, require, module, __urlOf) { module.exports = { '${DOOR}': { answer: () => '${answer}' } }; })`;
  writeFileSync(join(dist, 'bundle/engine.cjs'), text);
}

function run(script: string, flags: readonly string[] = [], ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, [...flags, join(dist, 'bundle', script), ...args], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stdout.trim();
}

function flip(at: number): void {
  const path = join(dist, 'bundle/engine.cache');
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
}

describe('a bundle', () => {
  it('runs from its text, and from the bytecode that was kept of it', () => {
    expect(run('ask.mjs')).toBe('bundle false');
    run('keep.mjs');
    expect(run('ask.mjs')).toBe('bundle true');
  });

  it('does not run bytecode that is damaged, wherever it is, or cut short', () => {
    run('keep.mjs');
    const { length } = readFileSync(join(dist, 'bundle/engine.cache'));
    for (const at of [0, 8, 12, length >> 1]) {
      flip(at);
      expect([at, run('ask.mjs')]).toEqual([at, 'bundle false']);
      flip(at);
    }
    expect(run('ask.mjs')).toBe('bundle true');
    for (const kept of [10, 40]) {
      writeFileSync(join(dist, 'bundle/engine.cache'), readFileSync(join(dist, 'bundle/engine.cache')).subarray(0, kept));
      expect(run('ask.mjs')).toBe('bundle false');
      run('keep.mjs');
    }
  });

  it('does not run the bytecode of another text of the same length', () => {
    run('keep.mjs');
    writeBundle('elbnud');
    expect(run('ask.mjs')).toBe('elbnud false');
  });

  it('does without the bytecode where node was told to compile differently', () => {
    run('keep.mjs');
    expect(run('ask.mjs', ['--no-lazy'])).toBe('bundle false');
  });

  it('makes way for the modules where these are newer, and where source maps are wanted', () => {
    run('keep.mjs');
    writeFileSync(join(dist, '.tsbuildinfo'), '');
    utimesSync(join(dist, '.tsbuildinfo'), 1, 1);
    expect(run('ask.mjs')).toBe('bundle true');
    expect(run('ask.mjs', ['--enable-source-maps'], 'modules')).toBe('module');
    const later = Date.now() / 1000 + 60;
    utimesSync(join(dist, '.tsbuildinfo'), later, later);
    expect(run('ask.mjs', [], 'modules')).toBe('module');
  });
});
