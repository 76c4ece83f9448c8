/** The offline check and `varve inspect` of databases that gave space back: trims, compactions and erasures are no damage, damage is. */
import { cpSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDirectory } from '../../engine/check.js';
import { type Database, open } from '../../engine/index.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { temporaryDirectory, varve } from './cli.js';

const root = temporaryDirectory();
const data = path.join(root.path, 'data');
const OPTIONS = { shards: 2, segmentBytes: 8192, upkeep: { automatic: false, deadShare: 1 } };
const CANARY = 'canary-of-the-erased';

async function ended(db: Database, id: string): Promise<void> {
  expect(await db.jobEnded(id)).toMatchObject({ state: 'done', error: null });
}

beforeAll(async () => {
  const db = await open(data, OPTIONS);
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 40; i++)
      await db.put('things', `key ${i}`, { round, i, pad: Buffer.from(new SeededRandom(40 * round + i).bytes(45)).toString('base64') });
    await db.put('people', `person ${round % 2}`, { name: CANARY, round });
    if (round === 1) await db.createSnapshot('early', db.newestTime()!);
    if (round === 4) await db.setRetention('things', { keep: 'last', versions: 2 });
    if (round % 2 === 1) await db.checkpoint();
    if (round === 4) await ended(db, db.compact({ force: true }).id);
  }
  await db.delete('things', 'key 7');
  await ended(db, db.compact({ force: true }).id);
  await ended(db, (await db.erase({ collection: 'people', key: 'person 0', reason: 'asked to' })).id);
  await db.deleteSnapshot('early');
  for (let i = 0; i < 20; i++) await db.put('things', `key ${i}`, { after: i });
  // Dropped, and most of it still in the files.
  await ended(db, db.compact().id);
  await db.close();
});
afterAll(() => root.remove());

const files = (end: string) =>
  readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(end))
    .map((entry) => path.join(path.relative(data, entry.parentPath), entry.name))
    .sort();
/** Their names end in a generation above 0. */
const compacted = () => files('.seg').filter((file) => !file.endsWith('-0000.seg'));

describe('a check of a database that gave space back', () => {
  it('finds it sound, and builds the roots it had', async () => {
    expect(compacted().length).toBeGreaterThan(1);
    const report = await checkDirectory(data, path.join(root.path, 'scratch'));
    expect(report.findings).toEqual([]);
    expect(report.sound).toBe(true);
    for (const shard of report.shards) {
      // Those since the newest trim that was carried out.
      expect(shard.checkpoints).toBeGreaterThan(0);
      expect(shard.tree?.root).toBe(shard.root);
    }
    // Together: which shard a key lies in is another in every database.
    const total = (of: (shard: (typeof report.shards)[number]) => number) => report.shards.reduce((sum, shard) => sum + of(shard), 0);
    expect(total(({ entries }) => entries)).toBeLessThan(total(({ records }) => records) - 5);
    const copy = path.join(root.path, 'copy');
    cpSync(data, copy, { recursive: true });
    const db = await open(copy, OPTIONS);
    for (const shard of report.shards) expect((await db.root(shard.shard))?.root).toBe(shard.root);
    await db.close();
  });

  it('finds a flipped byte in any compacted segment, wherever it lies', async () => {
    for (const [i, file] of compacted().entries()) {
      const share = [0.05, 0.4, 0.8, 0.99][i % 4]!;
      const broken = path.join(root.path, `broken ${i}`);
      cpSync(data, broken, { recursive: true });
      const name = path.join(broken, file);
      const bytes = readFileSync(name);
      bytes[Math.floor(statSync(name).size * share)]! ^= 0x10;
      writeFileSync(name, bytes);
      const report = await checkDirectory(broken, path.join(root.path, `scratch ${i}`));
      expect([file, share, report.sound]).toEqual([file, share, false]);
    }
  });

  it('is told of as sound on the command line', async () => {
    const { code, out, err } = await varve(['check', data]);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('sound');
  });
});

describe('inspect', () => {
  it('tells trims, erasures, erased records and what a segment is compacted through in words', async () => {
    let said = '';
    for (const file of files('.seg')) {
      const { code, out } = await varve(['inspect', path.join(data, file)]);
      expect([file, code]).toEqual([file, 0]);
      said += out;
    }
    expect(said).toMatch(/trim .*drops/);
    expect(said).toMatch(/erasure .*person 0.*asked to/);
    expect(said).toMatch(/compacted/i);
    expect(said).toMatch(/erased/);
  });
});
