import { describe, expect, it } from 'vitest';
import { Memtable, NO_SLOT } from '../../engine/memtable.js';

const hash = (n: number) => new Uint8Array(32).fill(n);

describe('Memtable', () => {
  it('finds the newest version at or below a seq, through any number of growths', () => {
    const table = new Memtable();
    for (let seq = 1; seq <= 10_000; seq++) table.add(`c\0k${seq % 100}\0`, seq, seq * 10, 1, Math.max(0, seq - 100), hash(seq % 251));
    expect(table.count).toBe(10_000);
    const slot = table.find('c\0k7\0', 5_000);
    expect(table.seqAt(slot)).toBe(4_907);
    expect(table.timeAt(slot)).toBe(49_070);
    expect(table.supersedesAt(slot)).toBe(4_807);
    expect(table.hashAt(slot)).toEqual(hash(4_907 % 251));
    expect(table.seqAt(table.previousOf(slot))).toBe(4_807);
    expect(table.find('c\0k7\0', 6)).toBe(NO_SLOT);
    expect(table.find('c\0nobody\0', 10_000)).toBe(NO_SLOT);
  });
});
