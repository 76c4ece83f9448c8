/** docs/CONTRACT.md names, for every promise to users, the tests that fail where it is broken: they exist, under these names. */
import { describe, expect, it } from 'vitest';
import { readText, repositoryFiles } from './repository.js';

const DOCUMENT = 'docs/CONTRACT.md';
const SECTIONS = [
  'Everywhere',
  'A point in time',
  'Insert',
  'Select',
  'Keep and compact',
  'Copies',
  'Operate',
  'Strangers and bombs',
  'Command line',
  'Library',
];
const LATER = /^with its own issue \(.+\)$/;

const files = new Set(repositoryFiles());
const text = readText(DOCUMENT);
const rows = [...text.matchAll(/^\| (?!promise|tool|---)(.+?) \| (.+) \|$/gm)]
  .map(([, promise = '', tests = '']) => ({ promise, tests }))
  .filter(({ promise }) => !promise.startsWith('---'));
const named = [...text.matchAll(/`(test\/[^`]+\.test\.ts)`: "([^"]+)"/g)].map(([, file = '', name = '']) => ({ file, name }));

/** The literals that stand in the source as names of tests, placeholders and all. */
function hasTest(file: string, name: string): boolean {
  const source = readText(file);
  const quoted = [`'${name.replaceAll("'", "\\'")}'`, `"${name}"`, `\`${name}\``];
  return quoted.some((literal) => new RegExp(`\\(\\s*${literal.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}\\s*,`).test(source));
}

describe('the contract document', () => {
  it('names test files and tests that exist', () => {
    expect(named.length).toBeGreaterThan(150);
    expect(named.filter(({ file, name }) => !files.has(file) || !hasTest(file, name))).toEqual([]);
  });

  it('has tests for every promise, or says with which work they come', () => {
    const promises = rows.slice(rows.findIndex(({ tests }) => /`test\/[^`]+`: "/.test(tests)));
    expect(promises.length).toBeGreaterThan(80);
    const bare = promises.filter(({ tests }) => {
      const parts = tests.split(' · ');
      return !LATER.test(tests) && !parts.every((part) => /^`test\/[^`]+\.test\.ts`: "[^"]+"$/.test(part));
    });
    expect(bare).toEqual([]);
  });

  it('covers every part of the contract', () => {
    expect([...text.matchAll(/^## (.+)$/gm)].map(([, title]) => title)).toEqual(['Tools of others', ...SECTIONS]);
  });
});
