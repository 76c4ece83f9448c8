/**
 * Puts what was compiled into three files, and keeps them compiled to bytecode beside: loading some 400 modules, and compiling each
 * function when it first runs, is most of what opening a small database and starting a server cost.
 *
 *     dist/bundle/engine.cjs      everything in engine/, for who embeds it and for the other bundle
 *     dist/bundle/program.cjs     the command line with server and replication; takes the engine from the first
 *     dist/bundle/threads.cjs     what the engine runs in threads, started by thread.mjs
 *     dist/bundle/*.cache         bytecode of what warm.mjs ran, for the Node that built it
 *     dist/bundle/engine.mjs      what the package exports; program.mjs: what tools/cli.js runs; load.mjs: reads all of these
 *
 * Packages are not bundled, but for the few functions around SQLite and one small one. Everything here is derived: deleted, tools/cli.js
 * runs the modules that tsc wrote. Processes that the tools start, and whoever asks node for source maps (which it does not
 * read here) run those too.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const require = createRequire(import.meta.url);
const HERE = fileURLToPath(new URL('.', import.meta.url));
/** Modules of the engine that others import. The first is the package's face. */
const DOORS = [
  'engine/index.js',
  'engine/copying.js',
  'engine/segment-copy.js',
  'engine/check.js',
  'engine/inspect.js',
  'engine/format/parse-json.js',
];
/** What threads run (ThreadModule in engine/platform/platform.ts), and what begins one. Each may be there in two copies: no thread sees another's. */
const THREADS = [
  'engine/platform/node.js',
  'engine/platform/node-thread-port.js',
  'engine/tree/fold-thread.js',
  'engine/compaction/compact-thread.js',
  'engine/compaction/source-thread.js',
];
const LEFT_OUTSIDE_BYTES = 1024 * 1024;
const PROGRAM = 'tools/program.js';
/** The JavaScript of these is bundled too: it comes with every opening. What is compiled of SQLite's stays where it is. */
const INLINED = ['better-sqlite3', 'fast-json-stable-stringify'];

/** Of a dist that tsc has just written. Does nothing where it holds no program; without a bundler that runs, what is asked for are the modules. */
export async function bundle(dist) {
  const out = join(dist, 'bundle');
  rmSync(out, { recursive: true, force: true });
  if (![...DOORS, ...THREADS, PROGRAM].every((path) => existsSync(join(dist, path)))) return;
  mkdirSync(out);
  try {
    await writeBundles(dist, out);
  } catch (error) {
    process.stderr.write(`varve: not bundled (${error.message}); everything works, and starts slower\n`);
    writeFileSync(join(out, 'engine.mjs'), `export * from '../${DOORS[0]}';\n`);
    writeFileSync(join(out, 'program.mjs'), `export * from '../${PROGRAM}';\n`);
    return;
  }
  // Bytecode is good for the flags it was made with: for none.
  const { NODE_OPTIONS: _, ...env } = process.env;
  const warmed = spawnSync(process.execPath, [join(HERE, 'warm.mjs'), out], { stdio: ['ignore', 2, 2], env });
  if (warmed.status !== 0) process.stderr.write('varve: no bytecode is kept; everything works, and starts slower\n');
}

async function writeBundles(dist, out) {
  const { build } = await import('esbuild');
  const common = {
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    packages: 'external',
    charset: 'ascii',
    // What load.mjs calls.
    banner: { js: '(function (exports, require, module, __urlOf) {' },
    footer: { js: '})' },
    logLevel: 'silent',
  };
  for (const [name, modules] of [
    ['engine', DOORS],
    ['threads', THREADS],
  ]) {
    const contents = modules.map((path) => `export * as ${JSON.stringify(path)} from './${path}';`).join('\n');
    const outfile = join(out, `${name}.cjs`);
    await build({ ...common, stdin: { contents, resolveDir: dist }, outfile, plugins: [placed(dist), inlined()] });
  }
  keepOutOfTheHeap(join(out, 'engine.cjs'));
  for (const name of INLINED) copyFileSync(join(dirname(require.resolve(`${name}/package.json`)), 'LICENSE'), join(out, `${name}.LICENSE`));
  const program = { entryPoints: [join(dist, PROGRAM)], outfile: join(out, 'program.cjs'), plugins: [placed(dist), engineApart(dist)] };
  await build({ ...common, ...program });
  for (const name of ['load.mjs', 'thread.mjs']) copyFileSync(join(HERE, name), join(out, name));
  const names = await namesOf(join(dist, DOORS[0]));
  const face = `import { engine } from './load.mjs';\n\nexport const { ${names.join(', ')} } = engine('${DOORS[0]}');\n`;
  writeFileSync(join(out, 'engine.mjs'), face);
  writeFileSync(join(out, 'program.mjs'), "import { program } from './load.mjs';\n\nexport const { run } = program();\n");
}

/** Node leaves a text of this length outside of V8's heap, where the first collection after loading would have to deal with it. */
function keepOutOfTheHeap(file) {
  const short = LEFT_OUTSIDE_BYTES - statSync(file).size;
  if (short > 0) appendFileSync(file, '\n'.repeat(short));
}

/** A module that asks where it is hears where tsc put it; threads begin in the bundle. */
function placed(dist) {
  return {
    name: 'placed',
    setup(build) {
      build.onLoad({ filter: /\.js$/ }, ({ path }) => {
        const within = relative(dist, path);
        if (within.startsWith('..')) return undefined;
        const text = readFileSync(path, 'utf8').replaceAll("'./node-thread-entry.js'", "'../../bundle/thread.mjs'");
        if (!text.includes('import.meta.url')) return undefined;
        return { contents: text.replaceAll('import.meta.url', `__urlOf(${JSON.stringify(within.split(sep).join('/'))})`), loader: 'js' };
      });
    },
  };
}

function inlined() {
  return {
    name: 'inlined',
    setup(build) {
      build.onResolve({ filter: new RegExp(`^(?:${INLINED.join('|')})$`) }, ({ path }) => ({ path: require.resolve(path) }));
    },
  };
}

/** The engine is not bundled twice: nothing of it may be there in two copies. */
function engineApart(dist) {
  return {
    name: 'engine-apart',
    setup(build) {
      build.onResolve({ filter: /^\.\.?\/.*engine\// }, ({ path, importer }) => {
        const within = posix.normalize(
          relative(dist, join(dirname(importer), path))
            .split(sep)
            .join('/'),
        );
        if (!within.startsWith('engine/')) return undefined;
        if (!DOORS.includes(within)) return { errors: [{ text: `${within} is no door of the engine: name it in tools/build/bundle.mjs` }] };
        return { path: `varve:${within}`, external: true };
      });
    },
  };
}

async function namesOf(module) {
  return Object.keys(await import(pathToFileURL(module).href)).sort();
}
