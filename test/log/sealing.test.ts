/** A segment that could not be sealed is sealed when somebody needs it sealed, not only at the next open. */
import { describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

describe('sealing', () => {
  it('that a full disk cut short is done again for a compaction, and an erased body goes', async () => {
    const machine = new MemoryPlatform({ seed: 5 });
    const db = await openWith(machine, { segmentBytes: 1000, upkeep: { automatic: false } });
    await db.put('c', 'k', `secret ${'x'.repeat(1200)}`);
    // The next group begins another segment; what seals the first writes to a file that is there already.
    machine.failOn('write', { kind: 'error', code: 'ENOSPC' }, { path: '000000000001-0000.seg' });
    await db.put('c', 'other', 1);
    await machine.advanceAndSettle(1000);
    expect(db.logFiles().find(({ name }) => name.startsWith('000000000001'))?.sealed).toBe(false);
    machine.clearFaults();
    const job = await db.erase({ collection: 'c', key: 'k', reason: 'asked to' });
    expect((await db.jobEnded(job.id))?.error).toBeNull();
    for (const { path } of machine.fileList()) expect(machine.contents(path).includes('secret'), path).toBe(false);
    await db.close();
  });
});
