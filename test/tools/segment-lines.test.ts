/** What a rewind set aside comes back as new records, from a real disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Engine } from '../../engine/engine.js';
import type { InsertItem } from '../../engine/index.js';
import { nodePlatform } from '../../engine/platform/node.js';
import { parseDumpLine } from '../../tools/dump-format.js';
import { segmentLines } from '../../tools/segment-lines.js';
import { agree, catchUp, copyOf, ownerNamed } from '../replica/support.js';

const root = mkdtempSync(join(tmpdir(), 'varve-aside-'));
afterAll(() => rmSync(root, { recursive: true }));

describe('a segment that was set aside', () => {
  it('is brought back batch by batch, its refs with it', async () => {
    const home = nodePlatform(join(root, 'a'));
    const db = await Engine.open(home, {});
    const first = await db.put('c', 'kept', 1);
    const away = await copyOf(home, 2, nodePlatform(join(root, 'b')));
    const copy = await Engine.open(away, { replication: { hold: true } });
    await copy.replica(1).follow(ownerNamed(db));
    await catchUp(db, copy);
    await db.insert([
      { collection: 'c', key: 'one', body: { text: 'å"' } },
      { collection: 'c', key: 'two', body: [1], refs: ['#0', first.id] },
    ]);
    await db.delete('c', 'one');
    await db.setRetention('c', { keep: 'all' });
    await copy.replica(1).beginEpoch(2, ownerNamed(copy), 'a test');
    await db.replica(1).follow(ownerNamed(copy));
    const aside = await db.replica(1).rewind(1);
    await catchUp(copy, db);
    expect(await agree(copy, db)).toBe(true);
    const lines: { ids: string[]; records: InsertItem[] }[] = [];
    for await (const line of segmentLines(join(root, 'a', aside!.file))) {
      expect(parseDumpLine(line).kind).toBe('batch');
      lines.push(JSON.parse(line.toString()));
    }
    expect(lines).toEqual([
      {
        ids: ['0001000000000002', '0001000000000003'],
        records: [
          { collection: 'c', key: 'one', body: { text: 'å"' } },
          { collection: 'c', key: 'two', body: [1], refs: ['#0', first.id] },
        ],
      },
      { ids: ['0001000000000004'], records: [{ collection: 'c', key: 'one', deleted: true }] },
    ]);
    for (const { records } of lines) await copy.insert(records);
    expect(copy.now().get('c', 'two')?.body).toEqual([1]);
    expect(copy.now().get('c', 'one')?.deleted).toBe(true);
    await db.close();
    await copy.close();
  });
});
