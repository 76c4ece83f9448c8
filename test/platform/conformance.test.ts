/** What every platform must do the same way, run over the real disk and the simulated one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { nodePlatform } from '../../engine/platform/node.js';
import type { Platform } from '../../engine/platform/platform.js';

const makers: Record<string, () => { platform: Platform; cleanUp: () => void }> = {
  memory: () => ({ platform: new MemoryPlatform({ seed: 7 }), cleanUp: () => {} }),
  node: () => {
    const root = mkdtempSync(join(tmpdir(), 'varve-platform-'));
    return { platform: nodePlatform(join(root, 'data')), cleanUp: () => rmSync(root, { recursive: true }) };
  },
};

const bytes = (text: string): Buffer => Buffer.from(text);

for (const [name, make] of Object.entries(makers)) {
  describe(`the ${name} platform`, () => {
    let platform: Platform;
    let cleanUp: () => void;

    beforeEach(() => {
      ({ platform, cleanUp } = make());
      platform.files.makeDirectory('');
    });
    afterEach(() => cleanUp());

    const put = async (path: string, text: string): Promise<void> => {
      const file = platform.files.open(path, 'create');
      await file.write(bytes(text), 0, text.length, 0);
      await file.sync();
      file.close();
    };
    const codeOf = (action: () => unknown): string | undefined => {
      try {
        action();
        return undefined;
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    const rejectionOf = async (promise: Promise<unknown>): Promise<string | undefined> => {
      try {
        await promise;
        return undefined;
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };

    it('reads back what was written where it was written', async () => {
      const file = platform.files.open('a', 'create');
      expect(await file.write(bytes('xhellox'), 1, 5, 0)).toBe(5);
      expect(await file.write(bytes('world'), 0, 5, 1000)).toBe(5);
      expect(file.size()).toBe(1005);
      const into = Buffer.alloc(10, '.');
      expect(file.read(into, 2, 5, 0)).toBe(5);
      expect(into.toString()).toBe('..hello...');
      expect(file.read(into, 0, 10, 998)).toBe(7);
      expect(into.subarray(0, 7).toString()).toBe('\0\0world');
      expect(file.read(into, 0, 10, 1005)).toBe(0);
      expect(file.read(into, 0, 10, 5000)).toBe(0);
      await file.sync();
      file.close();
      expect(platform.files.readFile('a').length).toBe(1005);
    });

    it('shows one handle what another wrote', async () => {
      const writer = platform.files.open('a', 'create');
      const reader = platform.files.open('a', 'read');
      await writer.write(bytes('new'), 0, 3, 0);
      const into = Buffer.alloc(3);
      expect(reader.size()).toBe(3);
      expect(reader.read(into, 0, 3, 0)).toBe(3);
      expect(into.toString()).toBe('new');
      writer.close();
      reader.close();
    });

    it('truncates, and reads zeros where a file grew again', async () => {
      const file = platform.files.open('a', 'create');
      await file.write(Buffer.alloc(2000, 'x'), 0, 2000, 0);
      await file.truncate(700);
      expect(file.size()).toBe(700);
      await file.truncate(1500);
      const into = Buffer.alloc(1500);
      expect(file.read(into, 0, 1500, 0)).toBe(1500);
      expect(into.subarray(0, 700).equals(Buffer.alloc(700, 'x'))).toBe(true);
      expect(into.subarray(700).equals(Buffer.alloc(800))).toBe(true);
      file.close();
    });

    it('opens by mode', async () => {
      expect(codeOf(() => platform.files.open('a', 'read'))).toBe('ENOENT');
      expect(codeOf(() => platform.files.open('a', 'update'))).toBe('ENOENT');
      expect(codeOf(() => platform.files.open('no/a', 'create'))).toBe('ENOENT');
      expect(codeOf(() => platform.files.readFile('a'))).toBe('ENOENT');
      await put('a', 'old');
      expect(codeOf(() => platform.files.open('a', 'create'))).toBe('EEXIST');
      const reader = platform.files.open('a', 'read');
      expect(await rejectionOf(reader.write(bytes('x'), 0, 1, 0))).toBe('EBADF');
      reader.close();
      const updater = platform.files.open('a', 'update');
      await updater.write(bytes('X'), 0, 1, 1);
      updater.close();
      expect(platform.files.readFile('a').toString()).toBe('oXd');
      platform.files.makeDirectory('folder');
      expect(codeOf(() => platform.files.open('folder', 'read'))).toBe('EISDIR');
      expect(codeOf(() => platform.files.open('a/b', 'read'))).toBe('ENOTDIR');
    });

    it('refuses every use of a closed file', async () => {
      const file = platform.files.open('a', 'create');
      file.close();
      file.close();
      expect(codeOf(() => file.size())).toBe('EBADF');
      expect(codeOf(() => file.read(Buffer.alloc(1), 0, 1, 0))).toBe('EBADF');
      expect(await rejectionOf(file.write(bytes('x'), 0, 1, 0))).toBe('EBADF');
      expect(await rejectionOf(file.sync())).toBe('EBADF');
      expect(await rejectionOf(file.truncate(0))).toBe('EBADF');
    });

    it('finishes a write that a close overtakes', async () => {
      const file = platform.files.open('a', 'create');
      const writing = file.write(bytes('late'), 0, 4, 0);
      file.close();
      expect(await writing).toBe(4);
      expect(platform.files.readFile('a').toString()).toBe('late');
    });

    it('lists directories sorted, by name', async () => {
      platform.files.makeDirectory('shards/0001/log');
      platform.files.makeDirectory('shards/0001/log');
      for (const file of ['b', 'a', '10', '9']) await put(`shards/0001/log/${file}`, file);
      expect(platform.files.list('shards/0001/log')).toEqual(['10', '9', 'a', 'b']);
      expect(platform.files.list('')).toEqual(['shards']);
      expect(platform.files.exists('shards/0001')).toBe(true);
      expect(platform.files.exists('shards/0002')).toBe(false);
      expect(platform.files.exists('shards/0001/log/a/x')).toBe(false);
      expect(codeOf(() => platform.files.list('nowhere'))).toBe('ENOENT');
      expect(codeOf(() => platform.files.list('shards/0001/log/a'))).toBe('ENOTDIR');
      expect(codeOf(() => platform.files.makeDirectory('shards/0001/log/a'))).toBe('EEXIST');
      await platform.files.syncDirectory('shards/0001/log');
      await platform.files.syncDirectory('');
      expect(await rejectionOf(platform.files.syncDirectory('nowhere'))).toBe('ENOENT');
    });

    it('renames over an existing file and across directories', async () => {
      platform.files.makeDirectory('x');
      await put('a', 'one');
      await put('x/b', 'two');
      const open = platform.files.open('x/b', 'read');
      platform.files.rename('a', 'x/b');
      expect(platform.files.exists('a')).toBe(false);
      expect(platform.files.readFile('x/b').toString()).toBe('one');
      const into = Buffer.alloc(3);
      open.read(into, 0, 3, 0);
      expect(into.toString()).toBe('two');
      open.close();
      expect(codeOf(() => platform.files.rename('a', 'c'))).toBe('ENOENT');
      expect(codeOf(() => platform.files.rename('x/b', 'nowhere/b'))).toBe('ENOENT');
    });

    it('removes files and empty directories; an open file outlives its name', async () => {
      platform.files.makeDirectory('x');
      await put('x/a', 'one');
      const open = platform.files.open('x/a', 'update');
      expect(codeOf(() => platform.files.remove('x'))).toBe('ENOTEMPTY');
      platform.files.remove('x/a');
      expect(codeOf(() => platform.files.remove('x/a'))).toBe('ENOENT');
      await open.write(bytes('!'), 0, 1, 3);
      expect(open.size()).toBe(4);
      open.close();
      platform.files.remove('x');
      expect(platform.files.list('')).toEqual([]);
    });

    it('refuses paths that could leave the root', () => {
      for (const path of ['../a', 'x/../../a', '/etc/passwd', 'x//a', './a', 'x/', 'a\\b', 'a\0b', '..']) {
        for (const action of [
          () => platform.files.open(path, 'create'),
          () => platform.files.exists(path),
          () => platform.files.list(path),
          () => platform.files.makeDirectory(path),
          () => platform.files.rename(path, 'b'),
          () => platform.files.remove(path),
          () => platform.files.readFile(path),
          () => platform.files.lock(path),
          () => platform.files.openSqlite(path),
        ]) {
          let thrown: unknown;
          try {
            action();
          } catch (error) {
            thrown = error;
          }
          expect(isVarveError(thrown, 'INVALID'), path).toBe(true);
        }
      }
    });

    it('gives the lock to one at a time and never deletes its file', () => {
      const lock = platform.files.lock('lock.sqlite');
      expect(platform.files.list('')).toContain('lock.sqlite');
      expect(platform.files.list('')).not.toContain('lock.sqlite-journal');
      let thrown: unknown;
      try {
        platform.files.lock('lock.sqlite');
      } catch (error) {
        thrown = error;
      }
      expect(isVarveError(thrown, 'LOCKED')).toBe(true);
      lock.release();
      lock.release();
      expect(platform.files.exists('lock.sqlite')).toBe(true);
      platform.files.lock('lock.sqlite').release();
      expect(codeOf(() => platform.files.lock('nowhere/lock.sqlite'))).toBe('ENOENT');
    });

    it('keeps a SQLite database from one opening to the next', () => {
      const first = platform.files.openSqlite('catalog.sqlite');
      first.pragma('journal_mode = WAL');
      first.exec('CREATE TABLE segments (name TEXT)');
      first.prepare('INSERT INTO segments VALUES (?)').run('one');
      first.close();
      expect(platform.files.exists('catalog.sqlite')).toBe(true);
      const second = platform.files.openSqlite('catalog.sqlite');
      second.prepare('INSERT INTO segments VALUES (?)').run('two');
      expect(second.prepare('SELECT name FROM segments ORDER BY rowid').pluck().all()).toEqual(['one', 'two']);
      second.close();
      platform.files.remove('catalog.sqlite');
      const third = platform.files.openSqlite('catalog.sqlite');
      expect(third.prepare('SELECT count(*) FROM sqlite_master').pluck().get()).toBe(0);
      third.close();
      expect(codeOf(() => platform.files.openSqlite('nowhere/catalog.sqlite'))).toBe('ENOENT');
    });

    it('says of a file that is no SQLite database that it is none', async () => {
      await put('catalog.sqlite', 'these are not the bytes of a database'.repeat(200));
      expect(
        codeOf(() => {
          const database = platform.files.openSqlite('catalog.sqlite');
          try {
            database.prepare('SELECT * FROM sqlite_master').all();
          } finally {
            database.close();
          }
        }),
      ).toBe('SQLITE_NOTADB');
    });

    it('gives random bytes that stay as they were given', () => {
      const given = Array.from({ length: 3000 }, () => platform.randomBytes(16));
      const texts = given.map((salt) => Buffer.from(salt).toString('hex'));
      expect(new Set(texts).size).toBe(3000);
      platform.randomBytes(100_000);
      expect(given.map((salt) => Buffer.from(salt).toString('hex'))).toEqual(texts);
      for (const size of [0, 1, 15, 16, 17, 4096, 4097, 100_000]) expect(platform.randomBytes(size).length).toBe(size);
    });

    it('lets other work run on yield', async () => {
      const order: string[] = [];
      const yielding = platform.clock.yield().then(() => order.push('after the yield'));
      await Promise.resolve().then(() => order.push('microtask'));
      await yielding;
      expect(order).toEqual(['microtask', 'after the yield']);
    });

    it('counts time in whole microseconds that do not run backwards by themselves', () => {
      let before = platform.clock.nowMicros();
      for (let i = 0; i < 1000; i++) {
        const now = platform.clock.nowMicros();
        expect(Number.isSafeInteger(now)).toBe(true);
        expect(now).toBeGreaterThanOrEqual(before);
        before = now;
      }
      const start = platform.clock.monotonicMs();
      expect(platform.clock.monotonicMs()).toBeGreaterThanOrEqual(start);
      expect(platform.files.networkKind()).toBeUndefined();
    });
  });
}
