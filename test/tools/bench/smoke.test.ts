/** A whole run, small: Varve and SQLite in process, and servers over HTTP. Nothing is said about time, for the machine may be busy. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import type { Results } from '../../../tools/bench/results.js';
import { cliCommand } from '../../../tools/faults/server-process.js';
import { temporaryDirectory, varve } from '../cli.js';

const root = temporaryDirectory();
afterAll(() => root.remove());

const SMALL = ['--no-install', '--reps', '1', '--cap', '0.02', '--peers', 'varve,sqlite'];

async function bench(name: string, ...args: string[]): Promise<{ out: string; results: Results; files: string[] }> {
  const out = path.join(root.path, name);
  const work = path.join(root.path, `${name} work`);
  const command = [...cliCommand(), 'bench', ...SMALL, ...args, '--out', out, '--dir', work];
  const { stdout } = await promisify(execFile)(process.execPath, command);
  expect(readdirSync(work)).toEqual([]);
  const results = JSON.parse(readFileSync(path.join(out, 'results.json'), 'utf8')) as Results;
  return { out: stdout, results, files: readdirSync(out).sort() };
}

describe('varve bench', () => {
  it('checks answers, measures every phase, and leaves table, chart and figures', async () => {
    const workloads = 'reads,verify,open-after-crash';
    const { out, results, files } = await bench('in process', '--entities', '200', '--workloads', workloads);
    expect(files).toEqual(['chart.svg', 'results.json', 'table.md']);
    expect(results).toMatchObject({ format: 1, node: process.version, command: expect.stringContaining('--entities 200') });
    expect(results.machine.cores).toBeGreaterThan(0);
    const [run] = results.runs;
    expect(run).toMatchObject({ data: 'synthetic', entities: 200, versions: 1000 });
    expect(Object.keys(run?.peers ?? {})).toEqual(['varve', 'sqlite']);
    for (const peer of Object.values(run?.peers ?? {})) {
      expect(peer.errors).toEqual([]);
      const measured = ['load', 'newest', 'asOf', 'history', 'historyBytes', 'scan', 'scanAsOf', 'diff', 'openAfterCrash'];
      expect(Object.keys(peer.workloads)).toEqual(expect.arrayContaining(measured));
    }
    expect(out).toMatch(/bulk load, versions\/s +\*?[\d.k]+ +\*?[\d.k]+ +[\d.]+×/);
    expect(readFileSync(path.join(root.path, 'in process', 'chart.svg'), 'utf8')).toContain('find 10 differences, ms');

    const again = await varve(['bench', '--report', path.join(root.path, 'in process')]);
    expect(again.code).toBe(0);
    expect(again.out).toBe(out);
  });

  it('asks servers over HTTP', async () => {
    const { out, results } = await bench('http', '--http-only', '--http-entities', '100');
    expect(results.runs).toEqual([]);
    expect(Object.keys(results.http?.kinds ?? {})).toEqual(['varve', 'node', 'express']);
    for (const kind of Object.values(results.http?.kinds ?? {})) {
      expect(kind.errors).toEqual([]);
      expect(kind.workloads['httpPutAt500']).toMatchObject({ failed: 0, unanswered: 0 });
    }
    expect(out).toContain('GET newest, 64 in flight (16 × 4), /s');
  });

  it('says what it cannot do before it begins', async () => {
    const refused = async (...args: string[]) => {
      const { code, err } = await varve(['bench', ...args]);
      return [code, err];
    };
    expect(await refused('--peers', 'varve,oracle')).toEqual([2, expect.stringContaining("there is no 'oracle'")]);
    expect(await refused('--workloads', 'loads')).toEqual([2, expect.stringContaining("there is no 'loads'")]);
    expect(await refused('--data', 'git')).toEqual([2, expect.stringContaining('--repo')]);
    expect(await refused('--size', '0.5', '--entities', '5')).toEqual([2, expect.stringContaining('give one')]);
    expect(await refused('--report', root.path)).toEqual([2, expect.stringContaining('no results.json')]);
    const out = path.join(root.path, 'none');
    expect(await refused('--peers', 'lmdb', '--no-install', '--peers-dir', out, '--out', out)).toEqual([
      1,
      expect.stringContaining('not installed: lmdb'),
    ]);
    expect(existsSync(out)).toBe(false);
  });
});
