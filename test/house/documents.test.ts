/** Documents that a test can check are checked: links lead somewhere, versions are the ones in use, decisions are numbered. */
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { manifest, readText, repositoryFiles } from './repository.js';

const files = repositoryFiles();
const documents = files.filter((path) => /^(?:[A-Z]+\.md|docs\/.+\.md)$/.test(path));

describe('documents', () => {
  it('link to files and headings that exist', () => {
    const known = new Set([...files, ...files.flatMap(parents)]);
    const broken: string[] = [];
    for (const path of documents) {
      for (const [, link = ''] of withoutCode(readText(path)).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link)) continue;
        const [file = '', heading] = link.split('#');
        const target = file === '' ? path : posix.join(posix.dirname(path), file).replace(/\/$/, '');
        if (!known.has(target)) broken.push(`${path}: ${link}`);
        else if (heading !== undefined && target.endsWith('.md') && !anchors(readText(target)).has(heading))
          broken.push(`${path}: ${link}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it('name source files that exist', () => {
    const known = new Set(files);
    const wrong: string[] = [];
    for (const path of documents) {
      for (const [, named = ''] of readText(path).matchAll(
        /`((?:engine|replication|server|tools|test)\/[A-Za-z0-9_./-]+\.(?:ts|mjs|json))`/g,
      )) {
        if (!known.has(named)) wrong.push(`${path}: ${named}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('give the versions that package.json gives', () => {
    const { name, version, dependencies, devDependencies } = manifest();
    const versions: Record<string, string> = { ...dependencies, ...devDependencies, [name]: version };
    const wrong: string[] = [];
    for (const path of documents.filter((document) => document !== 'CHANGELOG.md')) {
      for (const [all, dependency = '', given = ''] of readText(path).matchAll(/(@?[a-z][a-z0-9/-]*?)[@ -]v?(\d+\.\d+\.\d+)\b/g)) {
        if (dependency in versions && versions[dependency] !== given) wrong.push(`${path}: ${all}, not ${versions[dependency]}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('number the decisions without gaps, each with its title', () => {
    const decisions = files.filter((path) => path.startsWith('docs/adr/'));
    expect(decisions.length).toBeGreaterThan(0);
    decisions.forEach((path, index) => {
      const number = String(index + 1).padStart(4, '0');
      expect(path).toMatch(new RegExp(`^docs/adr/${number}-[a-z0-9-]+\\.md$`));
      expect(readText(path)).toMatch(new RegExp(`^# ${number}\\. `));
    });
  });
});

/** `docs/adr/x.md` lies in `docs` and `docs/adr`. */
function parents(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
}

function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '');
}

/** Headings as links name them: lower case, punctuation gone, blanks as hyphens. */
function anchors(text: string): Set<string> {
  const headings = withoutFences(text).matchAll(/^#+ +(.+)$/gm);
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(' ', '-'),
    ),
  );
}

function withoutFences(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, '');
}
