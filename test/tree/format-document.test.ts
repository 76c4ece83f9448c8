/** The tree files of docs/FORMAT.md are what the code makes of them: its example byte for byte, its rules by another implementation. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { entityKey, treeKey } from '../../engine/format/keys.js';
import { writeLeafValue } from '../../engine/format/leaf-value.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { Random } from '../support/random.js';
import { referenceRoot } from './reference.js';
import { DATABASE_ID, DIRECTORY, fold, hexOf, openStore, run, versionKey } from './support.js';

const document = readFileSync(new URL('../../docs/FORMAT.md', import.meta.url), 'utf8');

describe('the format document', () => {
  it('shows a file as it is written', async () => {
    const example = /56 41 52 56 54 52 45 45[^`]*/.exec(document)![0];
    const documented = example
      .split('\n')
      .map((line) => /^(?:[0-9a-f]{2}(?: |$))*/.exec(line)![0].replaceAll(' ', ''))
      .join('');
    const machine = new MemoryPlatform();
    const store = await openStore({ machine, targetBytes: 4096, databaseId: Uint8Array.from({ length: 16 }, (_, i) => i) });
    const version = (key: string, seq: number, kind: number, supersedes: number, hash: number) => ({
      key: treeKey(entityKey('c', key), seq),
      value: writeLeafValue({ hash: new Uint8Array(32).fill(hash), kind, time: 1_700_000_000_000_000 + seq, supersedes }),
    });
    await fold(store, undefined, [version('a', 2, 2, 1, 0x22), version('a', 1, 1, 0, 0x11), version('b', 3, 1, 0, 0x33)], 3);
    expect(machine.contents(`${DIRECTORY}/000001.tree`).toString('hex')).toBe(documented);
  });

  it('is enough to compute the same roots', async () => {
    const random = new Random(7);
    for (const [target, count] of [
      [4096, 0],
      [4096, 1],
      [64, 40],
      [64, 700],
      [256, 3000],
      [4096, 12_000],
    ] as const) {
      const changes = run(
        Array.from(
          { length: count },
          (_, i) => [versionKey(random.chance(0.3) ? 'hot' : 'k'.repeat(random.below(30)) + random.below(count), i + 1), i] as const,
        ),
      );
      const store = await openStore({ targetBytes: target });
      const entries = changes.map(({ key, value }) => ({ key, value: value! }));
      expect(hexOf(await fold(store, undefined, changes))).toBe(referenceRoot(DATABASE_ID, target, entries));
    }
  });
});
