/** A PostgreSQL server for one run: a cluster of its own, on loopback, ended with the run. Needs Debian's `postgresql` (pg_config on the path). */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../../free-port.js';
import type { Server } from '../adapter.js';

export const USER = 'bench';
const READY_MS = 20_000;
const SETTINGS = ['shared_buffers=512MB', 'max_wal_size=4GB', 'max_connections=100'];

/** Where this run's server listens: written by `startPostgres`, read by every phase. */
export function postgresPort(directory: string): number {
  return Number(readFileSync(path.join(directory, '..', 'postgres-port'), 'utf8'));
}

/** `directory` is the peer's own; phases get `directory`/data. */
export async function startPostgres(directory: string, ping: (port: number) => Promise<void>): Promise<Server> {
  const programs = programFolder();
  const cluster = path.join(directory, 'cluster');
  mkdirSync(cluster, { recursive: true });
  const owner = ownerOf(cluster);
  chmodSync(cluster, 0o700);
  const made = spawnSync(
    path.join(programs, 'initdb'),
    ['-D', cluster, '-U', USER, '-A', 'trust', '--no-locale', '-E', 'UTF8', '--no-sync'],
    { ...owner, cwd: cluster },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.error?.message ?? made.stderr.toString().trim()}`);
  const port = await freePort();
  const settings = SETTINGS.flatMap((setting) => ['-c', setting]);
  const server = spawn(path.join(programs, 'postgres'), ['-D', cluster, '-p', String(port), '-k', '', '-h', '127.0.0.1', ...settings], {
    ...owner,
    cwd: cluster,
    stdio: 'ignore',
  });
  await ready(server, () => ping(port));
  writeFileSync(path.join(directory, 'postgres-port'), String(port));
  return {
    pid: server.pid ?? 0,
    async stop() {
      if (server.exitCode !== null) return;
      const gone = once(server, 'exit');
      server.kill('SIGINT');
      await gone;
    },
  };
}

function programFolder(): string {
  try {
    return execFileSync('pg_config', ['--bindir'], { encoding: 'utf8' }).trim();
  } catch (error) {
    throw new Error('pg_config is not there: PostgreSQL has to be installed (Debian: apt-get install postgresql)', { cause: error });
  }
}

/** PostgreSQL refuses to run as root. */
function ownerOf(cluster: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  const owner = { uid: id('-u'), gid: id('-g') };
  chownSync(cluster, owner.uid, owner.gid);
  // Its user has to get through every folder above.
  for (let up = path.dirname(cluster); existsSync(up) && up !== path.dirname(up); up = path.dirname(up)) {
    try {
      execFileSync('setpriv', [`--reuid=${owner.uid}`, '--clear-groups', 'test', '-x', up], { stdio: 'ignore' });
    } catch {
      throw new Error(`the user postgres cannot enter ${up}: give --dir a folder that it can`);
    }
  }
  return owner;
}

async function ready(server: ChildProcess, ping: () => Promise<void>): Promise<void> {
  const end = performance.now() + READY_MS;
  for (;;) {
    try {
      return await ping();
    } catch (error) {
      if (server.exitCode !== null || performance.now() > end) throw new Error('postgres did not start', { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
