/**
 * The peers' packages: pinned in a package.json of their own (tools/bench/peers/package.json), installed when a run first needs
 * them. better-sqlite3 and express are Varve's own dependencies and are taken from there, so that both sides run the same build.
 *
 * The types of these packages are not installed with Varve: adapters say themselves what they use of them.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The folder of Varve's package.json, both from the sources and from dist/. */
export function packageRoot(): string {
  let directory = path.dirname(fileURLToPath(import.meta.url));
  while (!isVarve(directory)) {
    const up = path.dirname(directory);
    if (up === directory) throw new Error("cannot find Varve's package.json");
    directory = up;
  }
  return directory;
}

function isVarve(directory: string): boolean {
  const file = path.join(directory, 'package.json');
  return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'varve';
}

interface Manifest {
  readonly version?: string;
  readonly exports?: Readonly<Record<string, { readonly default?: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

export function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(path.join(directory, 'package.json'), 'utf8')) as Manifest;
}

/** Where peers are installed unless told otherwise: beside their package.json in a checkout. */
export function defaultPeersDirectory(): string | undefined {
  const root = packageRoot();
  return existsSync(path.join(root, 'tools/bench/packages.ts')) ? path.join(root, 'tools/bench/peers') : undefined;
}

async function loadVarve(): Promise<typeof import('../../engine/index.js')> {
  if (!import.meta.url.endsWith('.js')) return import('../../engine/index.js');
  const { exports } = readManifest(packageRoot());
  return import(pathToFileURL(path.join(packageRoot(), exports?.['.']?.default ?? '')).href);
}

export class Packages {
  /** Folders whose node_modules are looked into: the peers' own, then Varve's and, where npm put them higher up, those above. */
  readonly #places: readonly string[];
  readonly #loaded = new Map<string, unknown>();
  #varve: Promise<typeof import('../../engine/index.js')> | undefined;

  constructor(peersDirectory: string | undefined) {
    const places = peersDirectory === undefined ? [] : [path.resolve(peersDirectory)];
    for (let up = packageRoot(); ; up = path.dirname(up)) {
      places.push(up);
      if (up === path.dirname(up)) break;
    }
    this.#places = places;
  }

  /** Of these, what cannot be found. */
  missing(names: readonly string[]): string[] {
    return names.filter((name) => this.#folder(name) === undefined);
  }

  version(name: string): string {
    if (name === 'varve') return readManifest(packageRoot()).version ?? '?';
    const folder = this.#folder(name);
    return folder === undefined ? '?' : (readManifest(folder).version ?? '?');
  }

  /** A CommonJS package, or the CommonJS face of one. */
  require<T>(name: string): T {
    if (!this.#loaded.has(name)) this.#loaded.set(name, this.requireFrom(name)(name));
    return this.#loaded.get(name) as T;
  }

  /** Ahead of what is timed, as a program loads what it imports: Varve's own modules are loaded by then too. */
  async load(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (name === 'varve') {
        await this.varve();
        continue;
      }
      try {
        this.require(name);
      } catch {
        await this.import(name);
      }
    }
  }

  /** What the package exports, as its users load it; the sources where these are not compiled. */
  varve(): Promise<typeof import('../../engine/index.js')> {
    this.#varve ??= loadVarve();
    return this.#varve;
  }

  /** `require` as this package's neighbours would call it. */
  requireFrom(name: string): NodeJS.Require {
    const place = this.#placeOf(name);
    if (place === undefined) throw new Error(`package ${name} is not installed`);
    return createRequire(path.join(place, 'package.json'));
  }

  async import<T>(name: string): Promise<T> {
    const resolved = this.requireFrom(name).resolve(name);
    return (await import(pathToFileURL(resolved).href)) as T;
  }

  #folder(name: string): string | undefined {
    const place = this.#placeOf(name);
    return place && path.join(place, 'node_modules', name);
  }

  #placeOf(name: string): string | undefined {
    return this.#places.find((place) => existsSync(path.join(place, 'node_modules', name, 'package.json')));
  }
}

/** Runs npm in `directory`, which may be the folder of the pins itself. What npm says goes to stderr. */
export function installPeers(directory: string): void {
  const pins = path.join(packageRoot(), 'tools/bench/peers');
  mkdirSync(directory, { recursive: true });
  const elsewhere = path.resolve(directory) !== pins;
  for (const name of ['package.json', 'package-lock.json']) {
    if (elsewhere && existsSync(path.join(pins, name))) copyFileSync(path.join(pins, name), path.join(directory, name));
  }
  // Not `ci`: some npms leave optional packages of other machines out of a lock, and `ci` then refuses it.
  const done = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: directory, stdio: ['ignore', 2, 2] });
  if (done.error !== undefined) throw new Error(`npm could not be started: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`npm ended with ${done.status} in ${directory}`);
}
