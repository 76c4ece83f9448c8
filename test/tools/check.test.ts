import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CheckReport, checkDirectory } from '../../engine/check.js';
import { open } from '../../engine/index.js';
import { temporaryDirectory, varve } from './cli.js';

const root = temporaryDirectory();
const sound = path.join(root.path, 'sound');
let copies = 0;

beforeAll(async () => {
  for (let round = 0; round < 3; round++) {
    const db = await open(sound, { shards: 2, segmentBytes: 8192 });
    for (let i = 0; i < 60; i++) {
      const { id } = await db.put('things', `key ${i % 17}`, { round, i });
      if (i % 13 === 0) await db.delete('things', `key ${i % 17}`, { expect: id });
      if (i === 30) await db.checkpoint();
    }
    await db.insert([{ collection: 'system', key: 'a', body: 1 }], { idempotencyKey: `round-${round}` });
    await db.close();
  }
});
afterAll(() => root.remove());

function copy(from = sound): string {
  const to = path.join(root.path, `copy ${++copies}`);
  cpSync(from, to, { recursive: true });
  return to;
}

async function check(directory: string): Promise<CheckReport> {
  const scratch = path.join(root.path, `scratch ${copies}`);
  const before = fingerprint(directory);
  const report = await checkDirectory(directory, scratch);
  rmSync(scratch, { recursive: true, force: true });
  expect(fingerprint(directory)).toEqual(before);
  return report;
}

/** Of everything but the lock, which a check takes. */
function fingerprint(directory: string): string[] {
  return allFiles(directory)
    .filter((file) => !file.startsWith('lock.sqlite'))
    .map(
      (file) =>
        `${file} ${statSync(path.join(directory, file)).mtimeMs} ${createHash('sha256')
          .update(readFileSync(path.join(directory, file)))
          .digest('hex')}`,
    );
}

function allFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .sort();
}

const segments = (directory: string) => allFiles(directory).filter((file) => file.endsWith('.seg'));
const trees = (directory: string) => allFiles(directory).filter((file) => file.endsWith('.tree'));

function flip(directory: string, file: string, offset: number): void {
  const name = path.join(directory, file);
  const bytes = readFileSync(name);
  bytes[offset] = (bytes[offset] as number) ^ 0x10;
  writeFileSync(name, bytes);
}

describe('checking a closed database', () => {
  it('finds it sound, with the roots a rebuild gives, and changes nothing', async () => {
    const report = await check(copy());
    expect(report.findings).toEqual([]);
    expect(report.sound).toBe(true);
    expect(report.shards.reduce((sum, shard) => sum + shard.records, 0)).toBe(3 * (60 + 5 + 1));
    const db = await open(copy());
    for (const shard of report.shards) {
      expect(shard.checkpoints).toBeGreaterThan(1);
      expect(shard.tree?.root).toBe(shard.root);
      expect((await db.root(shard.shard))?.root).toBe(shard.root);
    }
    await db.close();
  });

  it('refuses one that is open, and what is no database', async () => {
    const directory = copy();
    const db = await open(directory);
    await expect(checkDirectory(directory, path.join(root.path, 's'))).rejects.toMatchObject({ code: 'LOCKED' });
    await db.close();
    await expect(checkDirectory(root.path, path.join(root.path, 's'))).rejects.toMatchObject({ code: 'INCOMPATIBLE' });
  });

  it('takes a crash for what it is: a torn tail is a note', async () => {
    const directory = copy();
    const db = await open(directory);
    const { shard } = await db.put('things', 'later', 1);
    const crashed = copy(directory);
    await db.close();
    expect(await check(crashed)).toMatchObject({ sound: true, findings: [] });
    const active = segments(crashed)
      .filter((file) => file.startsWith(`shards/000${shard}/`))
      .at(-1) as string;
    appendFileSync(path.join(crashed, active), Buffer.alloc(100, 0xf5));
    const report = await check(crashed);
    expect(report).toMatchObject({ sound: true, findings: [{ severity: 'note', kind: 'torn-tail', file: active }] });
  });

  it('reports damage of what a copy promised and said, without which it would not open', async () => {
    for (const name of ['promise.json', 'rewind.json', 'spoken.json']) {
      const directory = copy();
      writeFileSync(path.join(directory, 'shards/0002', name), '{"time":1,"check":"00"}\n');
      const { sound, findings } = await check(directory);
      expect(sound).toBe(false);
      expect(findings).toEqual([expect.objectContaining({ severity: 'damage', kind: 'damaged', file: `shards/0002/${name}` })]);
      await expect(open(directory)).rejects.toMatchObject({ code: 'CORRUPT' });
    }
  });

  it('reports damage anywhere in the log or the tree, with the file', async () => {
    const places = [...segments(sound), ...trees(sound).slice(-2)];
    for (const file of places) {
      const size = statSync(path.join(sound, file)).size;
      for (const share of [0, 0.3, 0.7, 0.999]) {
        const directory = copy();
        flip(directory, file, Math.floor(size * share));
        const { findings, sound: isSound } = await check(directory);
        // A tree file keeps nodes of older versions, which nothing reads any more; its newest root stands last.
        if (file.endsWith('.tree') && isSound && share < 0.9) continue;
        // A bad trailer of a file that compaction never touched is what a crash leaves too: told, and nothing is lost with it.
        const isNote = findings.every(({ kind, severity }) => kind === 'torn-footer' && severity === 'note');
        if (!(isNote && share > 0.9)) expect([file, share, isSound]).toEqual([file, share, false]);
        expect(findings.map((finding) => finding.file).some((found) => found === file || file.startsWith(found))).toBe(true);
        rmSync(directory, { recursive: true });
      }
    }
  }, 60_000);

  it('reports a missing segment, a missing shard, a cut file and a swapped tree', async () => {
    const [first = '', second = ''] = segments(sound);
    const missing = copy();
    rmSync(path.join(missing, second));
    expect((await check(missing)).findings).toContainEqual(expect.objectContaining({ severity: 'damage', kind: 'missing' }));
    const noShard = copy();
    rmSync(path.join(noShard, 'shards/0002'), { recursive: true });
    expect((await check(noShard)).sound).toBe(false);
    const cut = copy();
    truncateSync(path.join(cut, first), 1000);
    expect((await check(cut)).sound).toBe(false);
    const treeless = copy();
    for (const file of trees(treeless)) rmSync(path.join(treeless, file));
    expect(await check(treeless)).toMatchObject({ sound: true, findings: [{ severity: 'note' }, { severity: 'note' }] });
    const swapped = copy();
    const [tree = ''] = trees(sound);
    cpSync(path.join(sound, tree.replace('0001', '0002')), path.join(swapped, tree));
    expect((await check(swapped)).sound).toBe(false);
  });
});

describe('varve check', () => {
  it('exits 0 with a table where all is sound, 1 with each finding otherwise, and 2 without a directory', async () => {
    const directory = copy();
    const good = await varve(['check', directory]);
    expect([good.code, good.err, good.out.split('\n').at(-2)]).toEqual([
      0,
      '',
      'sound: everything was read, and the trees built again have the same roots',
    ]);
    flip(directory, segments(directory)[0] as string, 300);
    const bad = await varve(['check', directory]);
    expect(bad.code).toBe(1);
    expect(bad.err).toContain('damaged: shards/0001/log/');
    const machine = await varve(['check', directory, '--json']);
    expect([machine.code, machine.err, (JSON.parse(machine.out) as CheckReport).sound]).toEqual([1, '', false]);
  });
});

describe('varve inspect', () => {
  it('tells every file of a data directory in words', async () => {
    const said = new Map<string, string>();
    for (const file of allFiles(sound)) {
      const { code, out, err } = await varve(['inspect', path.join(sound, file), '--bodies']);
      expect([file, code, err]).toEqual([file, 0, '']);
      said.set(file, out);
    }
    const [first = ''] = segments(sound);
    const log = said.get(first) as string;
    for (const word of [
      'segment header',
      'frame',
      'batch',
      'record',
      'checkpoint',
      'mark',
      'footer',
      'trailer',
      'tombstone',
      '"round\\":0',
    ]) {
      expect([...said.values()].join('').includes(word.replace('\\', '')), word).toBe(true);
    }
    expect(log).toContain('collection things · key key ');
    expect(said.get(trees(sound)[0] as string)).toMatch(/leaf .*level 0/);
    expect(said.get('catalog.sqlite')).toContain('checkpoints');
    expect(said.get('node.json')).toContain('shards 2');
  });

  it('accounts for every byte of segments and tree files', async () => {
    for (const file of [...segments(sound), ...trees(sound)]) {
      const { out } = await varve(['inspect', path.join(sound, file), '--json', '--brief']);
      let end = 0;
      for (const line of out.trim().split('\n')) {
        const item = JSON.parse(line) as { offset: number; length: number };
        expect(item.offset).toBe(end);
        end += item.length;
      }
      expect(end).toBe(statSync(path.join(sound, file)).size);
    }
  });

  it('shows what cannot be believed, and exits 1', async () => {
    const directory = copy();
    for (const file of [segments(directory)[0] as string, trees(directory)[0] as string]) {
      flip(directory, file, 400);
      const { code, out } = await varve(['inspect', path.join(directory, file)]);
      expect(code).toBe(1);
      expect(out).toContain('BAD: ');
    }
    flip(directory, 'node.json', 20);
    expect((await varve(['inspect', path.join(directory, 'node.json')])).code).toBe(1);
    expect((await varve(['inspect', directory])).code).toBe(2);
  });
});
