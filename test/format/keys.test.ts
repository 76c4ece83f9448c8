import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import {
  checkCollection,
  checkKey,
  entityKey,
  entityKeyFromBytes,
  entityPrefix,
  isSystemCollection,
  parseTreeKey,
  splitEntityKey,
  treeKey,
  treeKeySeq,
} from '../../engine/format/keys.js';
import { MAX_SEQ } from '../../engine/types.js';

function refused(work: () => void, path: string): boolean {
  try {
    work();
    return false;
  } catch (error) {
    return isVarveError(error, 'INVALID') && error.details.path === path;
  }
}

const collection = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,9}$/);
const key = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
    fc.string({ minLength: 1, maxLength: 6 }),
    fc
      .array(fc.constantFrom('a', 'b', 'é', '\uffff', '\u{10000}', '\ue000'), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join('')),
  )
  .filter((one) => !refused(() => checkKey(one, 'k'), 'k'));
const seq = fc.oneof(
  fc.integer({ min: 0, max: 1000 }),
  fc.integer({ min: 0, max: MAX_SEQ }),
  fc.constantFrom(MAX_SEQ, 2 ** 32, 2 ** 32 - 1, 2 ** 40),
);

describe('names', () => {
  it('takes collection names and refuses others', () => {
    for (const name of ['a', 'Customers', 'a-b_c9', `a${'b'.repeat(63)}`, '_policies', '__'])
      expect(() => checkCollection(name)).not.toThrow();
    for (const name of ['', '9a', '-a', 'a.b', 'a b', 'é', `a${'b'.repeat(64)}`, '_', 'a\n', 'a\0', undefined, 7, null]) {
      expect(refused(() => checkCollection(name, 'records[3].collection'), 'records[3].collection')).toBe(true);
    }
    expect(isSystemCollection('_x')).toBe(true);
    expect(isSystemCollection('x_')).toBe(false);
  });

  it('takes keys of 1 to 512 bytes and refuses controls, lone surrogates, dots and what is no string', () => {
    for (const one of ['a', '...', '.a', '/', 'a b', 'é', '\u{1f600}', '\u00a0', 'x'.repeat(512), 'é'.repeat(256), '\u{1f600}'.repeat(128)])
      expect(() => checkKey(one)).not.toThrow();
    for (const one of [
      '',
      '.',
      '..',
      'a\0',
      '\n',
      '\x1f',
      '\x7f',
      '\x80',
      '\x9f',
      'é\x85',
      '\ud800',
      'a\udc00',
      '\udc00\ud800',
      'x'.repeat(513),
      'é'.repeat(257),
      '\u{1f600}'.repeat(129),
      7,
      undefined,
      ['a'],
    ]) {
      expect(refused(() => checkKey(one, 'records[0].key'), 'records[0].key')).toBe(true);
    }
  });
});

describe('entities as bytes', () => {
  it('come back as they went in, from text and from bytes', () => {
    fc.assert(
      fc.property(collection, key, (c, k) => {
        const entity = entityKey(c, k);
        expect(Buffer.from(entity, 'latin1')).toEqual(Buffer.from(`${c}\0${k}\0`));
        expect(splitEntityKey(entity)).toEqual({ collection: c, key: k });
        expect(entityKeyFromBytes(Buffer.from(c), Uint8Array.from(Buffer.from(k)))).toBe(entity);
        expect(entity.startsWith(entityPrefix(c))).toBe(true);
        expect(entity.startsWith(entityPrefix(c, k))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('are in byte order under <, and their tree keys newest first within', () => {
    fc.assert(
      fc.property(collection, key, seq, collection, key, seq, fc.boolean(), (c1, k1, s1, c2, k2, s2, same) => {
        const one = entityKey(c1, k1);
        const other = same ? one : entityKey(c2, k2);
        const byBytes = Math.sign(Buffer.compare(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1')));
        expect(one < other ? -1 : one > other ? 1 : 0).toBe(byBytes);
        expect(Math.sign(Buffer.compare(treeKey(one, s1), treeKey(other, s2)))).toBe(byBytes || Math.sign(s2 - s1));
      }),
      { numRuns: 1000 },
    );
  });

  it('make tree keys that come back, in a buffer given or a new one', () => {
    const into = new Uint8Array(700);
    fc.assert(
      fc.property(collection, key, seq, (c, k, s) => {
        const entity = entityKey(c, k);
        const bytes = treeKey(entity, s, into);
        expect(bytes.buffer).toBe(into.buffer);
        expect(treeKey(entity, s)).toEqual(bytes);
        expect(parseTreeKey(bytes)).toEqual({ entity, seq: s });
        expect(treeKeySeq(bytes)).toBe(s);
      }),
      { numRuns: 500 },
    );
  });

  it('stand in bytes as FORMAT says', () => {
    expect(Buffer.from(treeKey(entityKey('c', 'é'), 1)).toString('hex')).toBe('6300c3a900fffffffffffe');
    expect(Buffer.from(treeKey(entityKey('c', 'k'), MAX_SEQ)).toString('hex')).toBe('63006b00000000000000');
  });
});
