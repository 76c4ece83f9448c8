/**
 * Runs the bundles that lie beside it (see bundle.mjs), from bytecode where there is some for this Node, these flags and this text.
 *
 *     *.cache    'VARVCODE' · crc u32 of the bundle's text · crc u32 of the bytecode · bytecode
 *
 * V8 checks version and flags, but of the text its length alone, and of the bytecode nothing: both are checked here. Whatever does not
 * fit is compiled as it is run. Bundles older than the modules beside them are left alone, and the modules run.
 */
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { constants, Script } from 'node:vm';
import { crc32 } from 'node:zlib';

const MAGIC = 'VARVCODE';
const HEAD_BYTES = 16;

const require = createRequire(import.meta.url);
const loaded = new Map();
let asModules;

/** A module of the engine that others may import. */
export function engine(door) {
  return runsModules() ? require(`../${door}`) : load('engine').exports[door];
}

export function program() {
  return runsModules() ? require('../tools/program.js') : load('program').exports;
}

/** What runs in a thread of its own, and what begins it: a path below engine/. */
export function thread(module) {
  const path = `engine/${module}.js`;
  return runsModules() ? require(`../${path}`) : load('threads').exports[path];
}

/** Whether it runs from bytecode. */
export function isWarm(name) {
  return load(name).isWarm;
}

/** What has been compiled by now, to go on with in another process. */
export function keep(name) {
  const { script } = load(name);
  const code = script.createCachedData();
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(MAGIC, 'latin1');
  head.writeUInt32LE(crc32(readFileSync(fileOf(name))), 8);
  head.writeUInt32LE(crc32(code), 12);
  return Buffer.concat([head, code]);
}

/** Where source maps are wanted, which node reads of modules alone; and in a checkout where tsc has run since, without the build. */
function runsModules() {
  asModules ??= process.sourceMapsEnabled === true || mtimeOf('../.tsbuildinfo') > mtimeOf('./engine.cjs');
  return asModules;
}

function mtimeOf(path) {
  return statSync(new URL(path, import.meta.url), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function load(name) {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const filename = fileOf(name);
  const text = readFileSync(filename);
  const cachedData = codeFor(name, text);
  // A function of four, of ASCII alone.
  const script = new Script(text.latin1Slice(), {
    filename,
    cachedData,
    importModuleDynamically: constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, requireHere, module, urlOf);
  const made = { script, isWarm: script.cachedDataRejected === false, exports: module.exports };
  loaded.set(name, made);
  return made;
}

function fileOf(name) {
  return fileURLToPath(new URL(`./${name}.cjs`, import.meta.url));
}

/** The engine of its own bundle; packages as anything here would find them. */
function requireHere(name) {
  return name.startsWith('varve:') ? engine(name.slice(6)) : require(name);
}

function urlOf(path) {
  return new URL(`../${path}`, import.meta.url).href;
}

function codeFor(name, text) {
  let bytes;
  try {
    bytes = readFileSync(new URL(`./${name}.cache`, import.meta.url));
  } catch {
    return undefined;
  }
  if (bytes.length < HEAD_BYTES || bytes.latin1Slice(0, 8) !== MAGIC) return undefined;
  const code = bytes.subarray(HEAD_BYTES);
  return bytes.readUInt32LE(8) === crc32(text) && bytes.readUInt32LE(12) === crc32(code) ? code : undefined;
}
