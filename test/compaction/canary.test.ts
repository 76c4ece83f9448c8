/**
 * What an erasure covers, and what retention lets go, is in no file any more: not in the bytes, and not in what any packed block in
 * them unpacks to. Files that were set aside and tails that do not count are looked through, too.
 */
import { describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { decodedBytes, filesThatSay } from '../support/decoded.js';

const CANARY = 'canary-of-the-erased-4711';
const LET_GO = 'body-of-the-let-go-4712';
const LOG = 'shards/0001/log';

describe.each([true, false])('after an erasure and a compaction, compressing: %s', (compress) => {
  const options = { segmentBytes: 6000, upkeep: { automatic: false, compress } };

  it('no decoded block and no byte of any file has a body that is to be gone', async () => {
    const machine = new MemoryPlatform({ seed: 3 });
    const db = await openWith(machine, options);
    for (let i = 0; i < 120; i++) {
      await db.put('c', `k${i % 10}`, { i, text: i < 100 ? LET_GO : 'kept', pad: 'abcdefgh '.repeat(20) });
      if (i % 9 === 0) await db.put('people', 'ann', { i, name: CANARY });
    }
    await db.jobEnded(db.compact({ force: true }).id);
    const logFiles = () => machine.fileList().filter(({ path }) => path.startsWith(LOG));
    expect(filesThatSay(machine, CANARY).length).toBeGreaterThan(0);
    expect(logFiles().some(({ path }) => decodedBytes(machine, path).length > 1)).toBe(compress);

    // A file that recovery once set aside, and bytes behind the end of what counts.
    const [some] = filesThatSay(machine, CANARY);
    machine.store(`${some}.damaged`, machine.contents(some!));
    await db.erase({ collection: 'people', key: 'ann', reason: 'asked to' });
    await db.setRetention('c', { keep: 'last', versions: 1 });
    for (const { id } of db.jobs()) expect((await db.jobEnded(id))?.state).toBe('done');
    expect(filesThatSay(machine, CANARY)).toEqual([]);
    expect(filesThatSay(machine, LET_GO).length).toBeGreaterThan(0);

    await db.jobEnded(db.compact({ force: true }).id);
    expect(filesThatSay(machine, LET_GO)).toEqual([]);
    expect(filesThatSay(machine, CANARY)).toEqual([]);
    await db.close();
    expect([...filesThatSay(machine, LET_GO), ...filesThatSay(machine, CANARY)]).toEqual([]);
    const again = await openWith(machine, options);
    expect(
      again
        .now()
        .history('people', 'ann')
        .records.every(({ erased }) => erased),
    ).toBe(true);
    expect(again.now().list('c')).toHaveLength(10);
    await again.close();
  });
});
