/** docs/INVARIANTS.md names, for every law, the tests that would catch its breach: they exist, under these names. */
import { describe, expect, it } from 'vitest';
import { readText, repositoryFiles } from './repository.js';

const DOCUMENT = 'docs/INVARIANTS.md';
const LAWS = 12;
const INVARIANTS = 9;

const files = new Set(repositoryFiles());
const text = readText(DOCUMENT);
const named = [...text.matchAll(/`(test\/[^`]+\.test\.ts)`: "([^"]+)"/g)].map(([, file = '', name = '']) => ({ file, name }));

describe('the invariants document', () => {
  it('names test files and tests that exist', () => {
    expect(named.length).toBeGreaterThan(50);
    expect(named.filter(({ file, name }) => !files.has(file) || !namesOf(file).includes(name))).toEqual([]);
  });

  it('says of every test file it mentions which tests', () => {
    const mentioned = [...text.matchAll(/`(test\/[^`]+\.test\.ts)`/g)].map(([, file]) => file);
    expect(mentioned.filter((file) => file !== 'test/house/invariants.test.ts' && !named.some((each) => each.file === file))).toEqual([]);
    expect(mentioned.length).toBe(named.length + 1);
  });

  it('has at least one test for every law and every invariant', () => {
    const sections = text.split(/^### /m).slice(1);
    expect(sections.map((section) => Number.parseInt(section, 10))).toEqual(Array.from({ length: LAWS }, (_, i) => i + 1));
    const rows = [...text.matchAll(/^\| I(\d) \|.*$/gm)];
    expect(rows.map(([, number]) => Number(number))).toEqual(Array.from({ length: INVARIANTS }, (_, i) => i + 1));
    const without = [...sections, ...rows.map(([row]) => row)].filter((part) => !/\.test\.ts`: "/.test(part));
    expect(without).toEqual([]);
  });
});

/** Names as they stand in the source, of `it`, `test` and their `each`: placeholders and all. */
function namesOf(file: string): string[] {
  const source = readText(file);
  if (!/\b(?:it|test)(?:\.each\([\s\S]*?\))?\(/.test(source)) return [];
  return [...source.matchAll(/\(\s*(?:'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`([^`]*)`)\s*,/g)].map(([, single, double, template]) =>
    (single ?? double ?? template ?? '').replaceAll(/\\(['"`\\])/g, '$1'),
  );
}
