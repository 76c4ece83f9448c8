/** What only the real machine has: other processes, a clock that somebody sets, mounts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { networkFuse, networkKindOf } from '../../engine/platform/network-kind.js';
import { nodePlatform } from '../../engine/platform/node.js';
import { nodeClock } from '../../engine/platform/node-clock.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'varve-node-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function lockError(directory: string): unknown {
  try {
    nodePlatform(directory).files.lock('lock.sqlite').release();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('the lock', () => {
  function holder(): ChildProcess {
    const script = join(import.meta.dirname, 'lock-holder.ts');
    return spawn(process.execPath, ['--import', 'tsx', script, root], { stdio: ['pipe', 'pipe', 'inherit'] });
  }
  const firstLine = (child: ChildProcess): Promise<string> =>
    new Promise((resolve, reject) => {
      child.stdout?.once('data', (data: Buffer) => resolve(data.toString().trim()));
      child.once('exit', (code) => reject(new Error(`the holder ended with ${code}`)));
    });
  const ended = (child: ChildProcess): Promise<void> => new Promise((resolve) => child.once('exit', () => resolve()));

  it('keeps a second process out until the first has died, however it dies', async () => {
    const child = holder();
    expect(await firstLine(child)).toBe('locked');
    expect(isVarveError(lockError(root), 'LOCKED')).toBe(true);
    const gone = ended(child);
    child.kill('SIGKILL');
    await gone;
    expect(lockError(root)).toBeUndefined();
    expect(existsSync(join(root, 'lock.sqlite'))).toBe(true);
  }, 30_000);

  it('is seen by a second process, and not lost by looking at its file', async () => {
    const lock = nodePlatform(root).files.lock('lock.sqlite');
    for (const look of [
      () => nodePlatform(root).files.readFile('lock.sqlite'),
      () => nodePlatform(root).files.open('lock.sqlite', 'read'),
    ]) {
      expect(look).toThrow(expect.objectContaining({ code: 'EBUSY' }));
    }
    expect(isVarveError(lockError(root), 'LOCKED')).toBe(true);
    const child = holder();
    expect(await firstLine(child)).toBe('LOCKED');
    await ended(child);
    lock.release();
  }, 30_000);

  it('takes a lock file that something wrote into, and gives it to one alone', () => {
    writeFileSync(join(root, 'lock.sqlite'), 'no database at all');
    const lock = nodePlatform(root).files.lock('lock.sqlite');
    expect(isVarveError(lockError(root), 'LOCKED')).toBe(true);
    lock.release();
    expect(readFileSync(join(root, 'lock.sqlite'))).toHaveLength(0);
  });

  it('is one lock however the directory is reached', () => {
    mkdirSync(join(root, 'data'));
    symlinkSync(join(root, 'data'), join(root, 'link'));
    const lock = nodePlatform(join(root, 'data')).files.lock('lock.sqlite');
    expect(isVarveError(lockError(join(root, 'link')), 'LOCKED')).toBe(true);
    lock.release();
    expect(lockError(join(root, 'link'))).toBeUndefined();
  });
});

describe('the clock', () => {
  it('follows a wall clock that is stepped, and only then', () => {
    let wallMs = 1_000_000;
    let monotonicMs = 50;
    const clock = nodeClock({ wallMs: () => Math.floor(wallMs), monotonicMs: () => monotonicMs });
    const pass = (ms: number): void => {
      wallMs += ms;
      monotonicMs += ms;
    };
    const start = clock.nowMicros();
    pass(0.25);
    expect(clock.nowMicros() - start).toBe(250);
    pass(10);
    expect(clock.nowMicros() - start).toBe(10_250);
    wallMs += 1.5;
    expect(clock.nowMicros() - start).toBe(10_250);
    wallMs += 3_600_000;
    expect(Math.abs(clock.nowMicros() - wallMs * 1000)).toBeLessThanOrEqual(1000);
    wallMs -= 7_200_000;
    expect(Math.abs(clock.nowMicros() - wallMs * 1000)).toBeLessThanOrEqual(1000);
    const stepped = clock.nowMicros();
    pass(0.125);
    expect(clock.nowMicros() - stepped).toBe(125);
  });

  it('runs a timer once, unless it was cancelled', async () => {
    const clock = nodeClock();
    const ran: string[] = [];
    clock.after(0, () => ran.push('cancelled'))();
    await new Promise<void>((resolve) => {
      // The timers do not keep the process alive; this one does.
      const alive = setInterval(() => {}, 1000);
      clock.after(2 ** 40, () => ran.push('in thirty years'));
      clock.after(0, () => ran.push('first'));
      clock.after(1, () => {
        clearInterval(alive);
        resolve();
      });
    });
    expect(ran).toEqual(['first']);
  });
});

describe('a network file system', () => {
  it('is not where the tests run', () => {
    expect(networkKindOf(join(root, 'not', 'yet', 'there'))).toBeUndefined();
  });

  it('behind FUSE is told by the innermost mount', () => {
    const mounts = [
      '22 1 8:1 / / rw - ext4 /dev/sda1 rw',
      '30 22 0:50 / /home/remote rw,nosuid - fuse.sshfs me@there:/ rw',
      '31 30 8:2 / /home/remote/local rw shared:3 - ext4 /dev/sdb1 rw',
      '32 22 0:51 / /mnt/with\\040space rw - fuse.rclone there: rw',
      '33 22 0:52 / /mnt/windows rw - fuseblk /dev/sdc1 rw',
    ].join('\n');
    expect(networkFuse(mounts, '/home/remote/data')).toBe('sshfs');
    expect(networkFuse(mounts, '/home/remote/local/data')).toBeUndefined();
    expect(networkFuse(mounts, '/home/remotely')).toBeUndefined();
    expect(networkFuse(mounts, '/mnt/with space')).toBe('rclone');
    expect(networkFuse(mounts, '/mnt/windows')).toBeUndefined();
  });
});

it('makes the root with its parents', () => {
  const { files } = nodePlatform(join(root, 'a', 'b'));
  files.makeDirectory('shards/0001');
  expect(existsSync(join(root, 'a', 'b', 'shards', '0001'))).toBe(true);
});
