/**
 * Runs the peers harness with Varve in it and prints a table for docs/BENCHMARKS.md.
 *
 *   node tools/bench/run.mjs --harness DIR [--peers varve,sqlite] [--entities 100000] [--reps 3] [--out FILE.json] [--prof]
 *
 * The harness is copied to a temporary directory and left untouched. This package and its dependencies are
 * linked into the copy's node_modules, so nothing is installed; peers that need more than better-sqlite3 need
 * `--install`, which runs npm in the copy. Build first (`npm run build`): the adapter uses the package as others would.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const { values: options } = parseArgs({
  options: {
    harness: { type: 'string' },
    peers: { type: 'string', default: 'varve,sqlite' },
    entities: { type: 'string', default: '100000' },
    reps: { type: 'string', default: '3' },
    cap: { type: 'string', default: '2' },
    phases: { type: 'string', default: 'load,reopen,reads,verify,single' },
    out: { type: 'string' },
    dir: { type: 'string' },
    install: { type: 'boolean', default: false },
    prof: { type: 'boolean', default: false },
  },
});
if (options.harness === undefined) {
  process.stderr.write(
    'usage: node tools/bench/run.mjs --harness DIR [--peers varve,sqlite] [--entities N] [--reps N] [--out FILE] [--prof]\n',
  );
  process.exit(2);
}

const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'varve-bench-'));
const data = options.dir ?? path.join(copy, 'data');
const out = path.resolve(options.out ?? path.join(copy, 'results.json'));

function prepareCopy() {
  for (const name of ['src', 'adapters', 'package.json', 'package-lock.json']) {
    fs.cpSync(path.join(options.harness, name), path.join(copy, name), { recursive: true });
  }
  // The original may be read-only, and copies keep their modes.
  for (const name of fs.readdirSync(copy, { recursive: true })) fs.chmodSync(path.join(copy, name), 0o755);
  // Its answer check compares JSON texts; canonical JSON gives keys back in order, so values are compared instead.
  const worker = path.join(copy, 'src', 'worker.mjs');
  const texts = 'JSON.stringify(r.body) === JSON.stringify(p.record(r.seq - SEQ0 - 1).body)';
  const source = fs.readFileSync(worker, 'utf8').replace(texts, 'isDeepStrictEqual(r.body, p.record(r.seq - SEQ0 - 1).body)');
  fs.writeFileSync(worker, `import { isDeepStrictEqual } from 'node:util'\n${source}`);
  if (options.prof) {
    // One profile a phase: node takes this flag on its command line only.
    const runner = path.join(copy, 'src', 'run.mjs');
    const flags = "'--expose-gc', '--cpu-prof', '--cpu-prof-dir=profiles', '--cpu-prof-name=' + peer + '-' + ph + '.cpuprofile',";
    fs.writeFileSync(runner, fs.readFileSync(runner, 'utf8').replace("'--expose-gc',", flags));
  }
  const modules = path.join(copy, 'node_modules');
  if (options.install) run('npm', ['install', '--no-audit', '--no-fund']);
  fs.mkdirSync(modules, { recursive: true });
  for (const name of fs.readdirSync(path.join(repository, 'node_modules'))) {
    if (name.startsWith('.') || fs.existsSync(path.join(modules, name))) continue;
    fs.symlinkSync(path.join(repository, 'node_modules', name), path.join(modules, name));
  }
  fs.rmSync(path.join(modules, 'varve'), { recursive: true, force: true });
  fs.symlinkSync(repository, path.join(modules, 'varve'));
  fs.copyFileSync(path.join(repository, 'tools/bench/varve-adapter.mjs'), path.join(copy, 'adapters/varve.mjs'));
}

function run(command, args) {
  const done = spawnSync(command, args, { cwd: copy, stdio: 'inherit' });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')} exited with ${done.status}`);
}

const number = (value) =>
  value === undefined
    ? '–'
    : value >= 10_000
      ? `${Math.round(value / 1000)}k`
      : value >= 1000
        ? `${(value / 1000).toFixed(1)}k`
        : String(value);
const rate = (w) => (w === undefined ? '–' : `${number(w.opsPerSec)} (${number(w.p50us)} / ${number(w.p99us)} µs)`);

const ROWS = [
  ['bulk load, versions/s (last tenth)', (p) => p.W1 && `${number(p.W1.opsPerSec)} (${number(p.W1.lastTenthOpsPerSec)})`],
  ['bulk load: batch p50 / p99, ms', (p) => p.W1 && `${p.W1.batchP50ms} / ${p.W1.batchP99ms}`],
  ['bulk load: peak RSS (before open), MB', (p) => p.W1 && `${p.W1.peakRssMB} (${p.W1.baseRssMB})`],
  ['bytes on disk a version', (p) => p.W1 && Math.round(p.W1.bytes / p.W1.versions)],
  ['durable insert, 1 client /s (p50 / p99)', (p) => rate(p.W2c1)],
  ['durable insert, 64 clients /s', (p) => rate(p.W2c64)],
  ['newest /s', (p) => rate(p.W3)],
  ['as of a seq /s', (p) => rate(p.W4)],
  ['history /s', (p) => rate(p.W5)],
  ['scan of 1000, newest /s', (p) => rate(p.W6)],
  ['scan of 1000, as of /s', (p) => rate(p.W6asOf)],
  ['open to first read, ms', (p) => p.W7 && p.W7.openToFirstReadMs],
  ['find 10 differences, ms', (p) => p.W9 && p.W9.findMs],
];

function table(result) {
  const peers = Object.entries(result.peers);
  const lines = [
    `${result.date.slice(0, 10)}, Node ${result.node}, ${result.cores} cores (${result.cpu.trim()}), ${result.entities} entities × ${result.versions} versions, medians of ${options.reps} runs.`,
    '',
    `| work | ${peers.map(([name]) => name).join(' | ')} |`,
    `| --- |${' --- |'.repeat(peers.length)}`,
    ...ROWS.map(([title, cell]) => `| ${title} | ${peers.map(([, peer]) => cell(peer) ?? '–').join(' | ')} |`),
  ];
  for (const [name, peer] of peers) for (const error of peer.errors) lines.push('', `${name}: ${error}`);
  return lines.join('\n');
}

prepareCopy();
const harnessFlags = ['peers', 'entities', 'reps', 'cap', 'phases'].flatMap((name) => [`--${name}`, options[name]]);
run(process.execPath, ['src/run.mjs', ...harnessFlags, '--dir', data, '--out', out]);
process.stdout.write(`${table(JSON.parse(fs.readFileSync(out, 'utf8')))}\n`);
process.stderr.write(`results: ${out}\n${options.prof ? `profiles: ${path.join(copy, 'profiles')}\n` : ''}`);
