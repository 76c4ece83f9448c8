/**
 * The house keeps its shape: imports point one way, the outside comes in through one door (law 12), and nothing lies about.
 * Where a rule has exceptions they are listed beside it, with the reason.
 */
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readText, repositoryFiles } from './repository.js';
import { codeOf, importsOf, lineAt } from './source-text.js';

/** From the bottom up: a layer imports only itself and those before it. */
const LAYERS = ['engine', 'replication', 'server', 'tools'];

/** Deep imports from outside a folder, past its index. Tools that take files apart need the decoders the database keeps to itself. */
const DEEP_IMPORTS: readonly { from: RegExp; into: RegExp }[] = [
  {
    from: /^tools\/(?:commands\/(?:inspect|check|restore)|segment-lines|faults\/copies\/promises)\.ts$/,
    into: /^engine\/(?:inspect|check)\.js$/,
  },
  // Bodies in answers are read as they were written.
  { from: /^tools\/http-client\.ts$/, into: /^engine\/format\/parse-json\.js$/ },
  // The published client, which is no part of the server.
  { from: /^tools\/commands\/changes\.ts$/, into: /^server\/client\/index\.js$/ },
  { from: /^tools\/backup\/[a-z]+\.ts$/, into: /^engine\/segment-copy\.js$/ },
  // The engine's second door: what copies need beside its public face.
  { from: /^replication\//, into: /^engine\/copying\.js$/ },
];

/** The one door to the outside. */
const DOOR = /^engine\/platform\/(?:node(?:-[a-z-]+)?|network-kind)\.ts$/;

const OUTSIDE_MODULES = /^node:(?:fs|child_process|os|perf_hooks|timers|worker_threads|net|http|https|dgram|dns|tls|readline|vm)\b/;
/** Peers come in through the transport alone. */
const HTTP_DOOR = 'replication/http-transport.ts';
const HTTP_MODULES = /^node:https?$/;
const OUTSIDE_WORDS =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)|\bMath\.random\b|\bperformance\b|\bhrtime\b|\bsetTimeout\b|\bsetInterval\b|\bsetImmediate\b|\bprocess\.(?:nextTick|env|cwd|exit|kill|on|argv)\b|\bfetch\(/g;
/** The simulated clock lets real promises settle; it takes no time from the event loop, only turns. */
const ALLOWED_WORDS: Readonly<Record<string, readonly string[]>> = { 'engine/platform/memory-clock.ts': ['setImmediate'] };
const RANDOM_WORDS = /\b(?:randomBytes|randomFill|randomFillSync|randomInt|randomUUID|getRandomValues)\b/;

const TOP_LEVEL = new Set([
  ...LAYERS,
  'test',
  'docs',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.test.json',
  'biome.json',
  'vitest.config.ts',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
]);

const files = repositoryFiles();
const sources = files
  .filter((path) => LAYERS.includes(path.split('/')[0] ?? '') && path.endsWith('.ts'))
  .map((path) => ({ path, text: readText(path) }));

describe('architecture', () => {
  it('imports point one way: tools, server, replication, engine', () => {
    const wrong = eachImport(({ path, target }) => target !== undefined && layer(target) > layer(path));
    expect(wrong).toEqual([]);
  });

  it('sources never import tests, nor anything outside the repository by path', () => {
    const wrong = eachImport(({ specifier, target }) => specifier.startsWith('.') && (target === undefined || layer(target) < 0));
    expect(wrong).toEqual([]);
  });

  it('every imported file exists', () => {
    const known = new Set(files);
    const wrong = eachImport(({ target }) => target !== undefined && !known.has(target.replace(/\.js$/, '.ts')));
    expect(wrong).toEqual([]);
  });

  it('outsiders come into a folder through its index', () => {
    const wrong = eachImport(({ path, target }) => {
      if (target === undefined || layer(target) === layer(path) || /^[a-z]+\/index\.js$/.test(target)) return false;
      return !DEEP_IMPORTS.some((allowed) => allowed.from.test(path) && allowed.into.test(target));
    });
    expect(wrong).toEqual([]);
  });

  it('files, time, timers and randomness come into engine and replication through the platform alone', () => {
    const wrong: string[] = [];
    for (const { path, text } of sources) {
      if (!/^(?:engine|replication)\//.test(path) || DOOR.test(path)) continue;
      for (const { specifier, typeOnly, line } of importsOf(text)) {
        if (path === HTTP_DOOR && HTTP_MODULES.test(specifier)) continue;
        if (OUTSIDE_MODULES.test(specifier) && !typeOnly) wrong.push(`${path}:${line} imports ${specifier}`);
      }
      const code = codeOf(text);
      for (const match of code.matchAll(OUTSIDE_WORDS)) {
        if (!ALLOWED_WORDS[path]?.includes(match[0])) wrong.push(`${path}:${lineAt(code, match.index)} ${match[0]}`);
      }
      if (importsOf(text).some(({ specifier }) => specifier === 'node:crypto') && RANDOM_WORDS.test(code)) {
        wrong.push(`${path} takes randomness from node:crypto`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('SQLite is opened by the platform alone', () => {
    const wrong = eachImport(
      ({ path, specifier, typeOnly }) => specifier === 'better-sqlite3' && !typeOnly && !path.startsWith('engine/platform/'),
    );
    expect(wrong).toEqual([]);
  });

  it('the server keeps its hands off the disk and off bare randomness', () => {
    const wrong: string[] = [];
    for (const { path, text } of sources.filter((source) => source.path.startsWith('server/'))) {
      for (const { specifier, line } of importsOf(text)) {
        if (/^node:(?:fs|child_process)\b/.test(specifier)) wrong.push(`${path}:${line} imports ${specifier}`);
      }
      if (/\bMath\.random\b/.test(codeOf(text))) wrong.push(`${path} Math.random`);
    }
    expect(wrong).toEqual([]);
  });

  it('nothing exports a default', () => {
    const wrong = sources.filter(({ text }) => /^\s*export\s+default\b/m.test(codeOf(text))).map(({ path }) => path);
    expect(wrong).toEqual([]);
  });

  it('the top of the repository holds only what belongs there', () => {
    const entries = new Set(files.map((path) => path.split('/')[0] ?? ''));
    expect([...entries].filter((entry) => !entry.startsWith('.') && !TOP_LEVEL.has(entry))).toEqual([]);
  });

  it('every test mirrors a folder of the sources or is one of the whole-system kinds', () => {
    const kinds = new Set([
      ...LAYERS,
      ...sources.filter(({ path }) => /^(?:engine|server)\//.test(path)).map(({ path }) => path.split('/')[1] ?? ''),
      ...['conformance', 'crash', 'e2e', 'fixtures', 'fuzz', 'house', 'property', 'simulation', 'support'],
    ]);
    const folders = files.filter((path) => path.startsWith('test/')).map((path) => path.split('/')[1] ?? '');
    expect([...new Set(folders)].filter((folder) => !kinds.has(folder) && !folder.endsWith('.test.ts'))).toEqual([]);
  });
});

interface Seen {
  readonly path: string;
  readonly specifier: string;
  readonly typeOnly: boolean;
  /** The imported path from the root of the repository; undefined for a package, or for what lies outside. */
  readonly target: string | undefined;
}

function eachImport(isWrong: (seen: Seen) => boolean): string[] {
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    for (const { specifier, typeOnly, line } of importsOf(text)) {
      const joined = specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : undefined;
      const target = joined?.startsWith('..') ? undefined : joined;
      if (isWrong({ path, specifier, typeOnly, target })) wrong.push(`${path}:${line} imports ${specifier}`);
    }
  }
  return wrong;
}

function layer(path: string): number {
  return LAYERS.indexOf(path.split('/')[0] ?? '');
}
