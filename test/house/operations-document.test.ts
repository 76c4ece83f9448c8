/**
 * docs/OPERATIONS.md: its tables of settings and metrics are those of the server, and what it says of log lines and alerts names things
 * that exist. With UPDATE_DOCS=1 the two tables are written anew.
 */
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { environmentName, flagName, SETTINGS, type SettingName } from '../../server/index.js';
import { TestServer } from '../server/support.js';
import { ROOT, readText, repositoryFiles } from './repository.js';

const PATH = 'docs/OPERATIONS.md';

function settingsTable(): string {
  const rows = (Object.keys(SETTINGS) as SettingName[]).map((name) => {
    const { default: fallback, help }: { default: unknown; help: string } = SETTINGS[name];
    return `| \`${flagName(name)}\` | \`${environmentName(name)}\` | ${fallback === undefined ? '' : `\`${String(fallback)}\``} | ${help} |`;
  });
  return ['| flag | variable | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

/** Name, type and meaning, as the server itself tells them. */
async function metricsTable(): Promise<string> {
  const s = await TestServer.start();
  await s.put('a', 1);
  const { text } = await s.get('/metrics');
  await s.stop();
  const rows = [...text.matchAll(/^# HELP (varve_\w+) (.+)\n# TYPE \w+ (\w+)$/gm)].map(([, name = '', help, type]) => {
    const labels = new RegExp(`^${name}(?:_bucket)?\\{(.+?)\\}`, 'm').exec(text)?.[1] ?? '';
    const names = [...labels.matchAll(/(\w+)="/g)].map(([, label]) => `\`${label}\``).filter((label) => label !== '`le`');
    return `| \`${name}\` | ${type} | ${names.join(' ')} | ${help} |`;
  });
  return ['| metric | type | labels | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

async function holds(name: string, table: string): Promise<void> {
  const text = readText(PATH);
  const pattern = new RegExp(`<!-- ${name} -->\\n([\\s\\S]*?)<!-- /${name} -->`);
  const shown = pattern.exec(text)?.[1];
  expect(shown, `${PATH} has a place for ${name}`).toBeDefined();
  if (process.env['UPDATE_DOCS'] === '1') {
    const updated = text.replace(pattern, () => `<!-- ${name} -->\n\n${table}\n\n<!-- /${name} -->`);
    writeFileSync(new URL(PATH, `file://${ROOT}/`), updated);
  } else expect(shown?.trim()).toBe(table);
}

describe('the document on running a server', () => {
  it('lists every setting as the server has it', () => holds('settings', settingsTable()));

  it('lists every metric as the server has it', async () => holds('metrics', await metricsTable()));

  it('names metrics and lines of the log that there are', () => {
    const text = readText(PATH);
    const listed = new Set([...text.matchAll(/^\| `(varve_\w+)` \|/gm)].map(([, name]) => name));
    const named = [...text.matchAll(/varve_[a-z_]+/g)].map(([name]) => name.replace(/_bucket$/, ''));
    expect(named.filter((name) => !listed.has(name))).toEqual([]);

    const sources = repositoryFiles()
      .filter((path) => /^(?:server|replication)\/.+\.ts$/.test(path))
      .map(readText)
      .join('\n');
    const lines = text.slice(text.indexOf('## The log'), text.indexOf('## Backup'));
    const messages = [...lines.matchAll(/^\| (`.+?`) \| /gm)].flatMap(([, cell = '']) =>
      cell.split(', ').map((quoted) => quoted.replaceAll('`', '')),
    );
    expect(messages.length).toBeGreaterThan(10);
    expect(messages.filter((message) => message !== 'msg' && !sources.includes(`'${message}'`))).toEqual([]);
  });
});
