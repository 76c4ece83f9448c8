/**
 * What is installed and what is built, and whether it is still what the sources ask for.
 *
 *     node_modules/.varve-stamp   hash of package-lock.json and of what compiled modules depend on (Node's ABI, the machine)
 *     dist/.varve-stamp           hash of every source's path, size and mtime and of the build's configuration
 *
 * A stamp is written after the work it stands for, so an interrupted run leaves none. Both are conveniences: delete them at will.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SOURCE_FOLDERS = ['engine', 'replication', 'server', 'tools'];
/** What makes the bundles, which are in dist too. */
const BUNDLERS = ['tools/build/bundle.mjs', 'tools/build/load.mjs', 'tools/build/warm.mjs'];
const INSTALL_STAMP = join(ROOT, 'node_modules', '.varve-stamp');
const BUILD_STAMP = join(ROOT, 'dist', '.varve-stamp');

/** `loadsNativeModules` throws where compiled modules do not fit this Node; asked only where there is no stamp of ours. */
export function isInstalled(loadsNativeModules) {
  if (readText(INSTALL_STAMP) === installStamp()) return true;
  // Somebody ran npm themselves. npm leaves a lockfile of what it put there.
  const installed = readText(join(ROOT, 'node_modules', '.package-lock.json'));
  if (installed === undefined || !sameVersions(JSON.parse(installed).packages)) return false;
  try {
    loadsNativeModules();
    return true;
  } catch {
    return false;
  }
}

export function writeInstallStamp() {
  writeIfChanged(INSTALL_STAMP, installStamp());
}

function installStamp() {
  const machine = `${process.versions.modules} ${process.platform} ${process.arch}`;
  return createHash('sha256')
    .update(machine)
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');
}

/** Everything wanted is there in that version (optional packages for other machines aside), and nothing else. */
function sameVersions(installed) {
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  const missing = Object.entries(wanted).some(
    ([path, entry]) => path !== '' && !entry.optional && installed[path]?.version !== entry.version,
  );
  const extra = Object.entries(installed).some(([path, entry]) => wanted[path]?.version !== entry.version);
  return !missing && !extra;
}

export function sourceStamp() {
  const hash = createHash('sha256');
  for (const file of [...sources(), ...BUNDLERS, 'tsconfig.json', 'package-lock.json']) {
    const { size, mtimeMs } = statSync(join(ROOT, file));
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

export function isBuilt(stamp) {
  return readText(BUILD_STAMP) === stamp && missingOutputs().length === 0 && isBundled();
}

export function writeBuildStamp(stamp) {
  writeFileSync(BUILD_STAMP, stamp);
}

/** Takes away what no longer has a source, and makes tsc write again what is missing (its own record says that it is there). */
export function prepareBuild() {
  rmSync(BUILD_STAMP, { force: true });
  const expected = new Set(sources().map(stem));
  for (const file of files('dist')) {
    const output = /^dist\/(.*?)(\.js|\.js\.map|\.d\.ts)$/.exec(file);
    if (output && !expected.has(output[1])) rmSync(join(ROOT, file));
  }
  if (missingOutputs().length > 0) rmSync(join(ROOT, 'dist', '.tsbuildinfo'), { force: true });
}

function missingOutputs() {
  return sources().filter((file) => !existsSync(join(ROOT, 'dist', `${stem(file)}.js`)));
}

function isBundled() {
  return (
    !sources().includes('tools/program.ts') || ['engine.mjs', 'program.mjs'].every((name) => existsSync(join(ROOT, 'dist/bundle', name)))
  );
}

function stem(source) {
  return source.replace(/\.ts$/, '');
}

function sources() {
  return SOURCE_FOLDERS.flatMap((folder) => files(folder)).filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'));
}

/** Every file below a folder, as paths from the root with `/`, sorted; none where the folder is missing. What is installed (node_modules) is not ours. */
function files(folder) {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : files(path);
      return entry.isFile() ? [path] : [];
    })
    .sort();
}

function writeIfChanged(path, text) {
  if (readText(path) !== text) writeFileSync(path, text);
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
