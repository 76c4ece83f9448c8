/** What `npm pack` would send out: everything it needs to run, nothing of the workshop. */
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { manifest, ROOT, readText, repositoryFiles } from './repository.js';
import { importsOf } from './source-text.js';

const { name, version, bin, exports, dependencies, devDependencies } = manifest();

interface LockedPackage {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** As packing does (nothing to do where `npm test` has just built). */
function build(): void {
  execFileSync(process.execPath, ['tools/build/bootstrap.mjs', 'build'], { cwd: ROOT, stdio: 'pipe' });
}

function packedFiles(): string[] {
  build();
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  const packed = JSON.parse(output.toString()) as { files: { path: string }[] }[] | Record<string, { files: { path: string }[] }>;
  const [first] = Object.values(packed);
  return (first?.files ?? []).map((file) => file.path).sort();
}

describe('package', () => {
  // It builds, where nothing was built since the last change.
  it('packs what bin and exports name, with types, documents and licence, and nothing else', { timeout: 240_000 }, () => {
    const packed = packedFiles();
    const entries = Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? [entry] : Object.values(entry)));
    const named = [...Object.values(bin), ...entries].map((path) => path.replace(/^\.\//, ''));
    expect(packed).toEqual(expect.arrayContaining([...named, 'package.json', 'README.md', 'LICENSE', 'CHANGELOG.md']));
    const allowed =
      /^(?:dist\/bundle\/(?:(?:load|thread)\.mjs|(?:engine|program)\.mjs|(?:engine|program|threads)\.(?:cjs|cache)|(?:better-sqlite3|fast-json-stable-stringify)\.LICENSE)|dist\/(?:engine|replication|server|tools)\/.+\.(?:js|js\.map|d\.ts)|tools\/bench\/peers\/package(?:-lock)?\.json|docs\/.+|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/;
    expect(packed.filter((path) => !allowed.test(path))).toEqual([]);
  });

  it('packs one module for every source, none for a source that is gone', () => {
    const modules = packedFiles().filter((path) => path.endsWith('.js'));
    const sources = repositoryFiles().filter(
      (path) => /^(?:engine|replication|server|tools)\/.+\.ts$/.test(path) && !path.endsWith('.d.ts'),
    );
    expect(modules).toEqual(sources.map((path) => `dist/${path.replace(/\.ts$/, '.js')}`).sort());
  });

  it('runs from one file with bytecode beside it, and exports what the modules do', () => {
    build();
    const script = `
      import { readFileSync } from 'node:fs';
      import { isWarm, program, thread } from './dist/bundle/load.mjs';
      import * as bundled from './dist/bundle/engine.mjs';
      import * as modules from './dist/engine/index.js';
      const missing = Object.keys(modules).filter((name) => typeof bundled[name] !== typeof modules[name]);
      const serves = ['tree/fold-thread', 'compaction/compact-thread', 'compaction/source-thread'].map((module) => typeof thread(module).serve);
      const begins = readFileSync('./dist/bundle/engine.cjs', 'latin1').includes('bundle/thread.mjs');
      const [run, areWarm] = [typeof program().run, ['engine', 'program', 'threads'].map(isWarm)];
      console.log(JSON.stringify({ missing, run, serves, begins, areWarm }));
    `;
    const { NODE_OPTIONS: _, ...env } = process.env;
    const told = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: ROOT, env });
    const serves = ['function', 'function', 'function'];
    expect(JSON.parse(told.toString())).toEqual({ missing: [], run: 'function', serves, begins: true, areWarm: [true, true, true] });
  });

  it('has a command that a shell can run', () => {
    expect(readText('tools/cli.ts')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it('pins every dependency to the version that is locked', () => {
    const lock = JSON.parse(readText('package-lock.json')) as { version: string; packages: Record<string, LockedPackage> };
    expect(lock.version).toBe(version);
    expect(lock.packages['']?.dependencies).toEqual(dependencies);
    expect(lock.packages['']?.devDependencies).toEqual(devDependencies);
    for (const [dependency, pinned] of Object.entries({ ...dependencies, ...devDependencies })) {
      expect(`${dependency}@${lock.packages[`node_modules/${dependency}`]?.version}`).toBe(`${dependency}@${pinned}`);
    }
  });

  it('needs at run time only what it lists as a dependency', () => {
    const used = new Set<string>();
    for (const path of repositoryFiles().filter((file) => /^(?:engine|replication|server|tools)\/.+\.ts$/.test(file))) {
      for (const { specifier, typeOnly } of importsOf(readText(path))) {
        if (!typeOnly && !specifier.startsWith('.') && !specifier.startsWith('node:')) used.add(packageName(specifier));
      }
    }
    expect([...used].filter((dependency) => !(dependency in dependencies))).toEqual([]);
  });

  it('brings the types that its public types mention', () => {
    const used = new Set<string>();
    for (const path of repositoryFiles().filter((file) => /^engine\/.+\.ts$/.test(file))) {
      for (const { specifier } of importsOf(readText(path))) used.add(`@types/${packageName(specifier)}`);
    }
    expect(Object.keys(devDependencies).filter((dependency) => used.has(dependency))).toEqual([]);
  });

  it('has an entry for its version in the changelog, or gathers one', () => {
    expect(readText('CHANGELOG.md')).toMatch(new RegExp(`^## (?:Unreleased|${version.replaceAll('.', '\\.')})`, 'm'));
    expect(name).toBe('varve');
  });
});

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
