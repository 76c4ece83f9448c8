/** The table: plain for a terminal, Markdown with percentiles for a document. */
import { type Io, table } from '../output.js';
import { type Comparison, compareHttp, compareRun, ratioText } from './compare.js';
import type { Results } from './results.js';
import { amount } from './rows.js';

export function comparisons(results: Results): Comparison[] {
  return [...results.runs.map(compareRun), ...(results.http === undefined ? [] : [compareHttp(results.http)])];
}

export function conditions(results: Results): string {
  const { machine, settings } = results;
  const from = results.commit === undefined ? '' : ` (${results.commit})`;
  return (
    `Varve ${results.varve}${from}, Node ${results.node}, ${machine.cores} cores (${machine.cpu}), ${machine.memoryGB} GB, ${machine.system}; ` +
    `${results.date.slice(0, 10)}; medians of ${settings.reps} run${settings.reps === 1 ? '' : 's'}, loops of ${settings.capSeconds} s, page cache warm`
  );
}

/** `*` marks the best of a row; a value in brackets does not count for it. */
export function plainTable(io: Io, comparison: Comparison): string {
  const right = { right: true };
  const columns = [
    { title: comparison.title, right: false },
    ...comparison.names.map((name) => ({ title: comparison.titles[name] ?? name, ...right })),
    { title: 'Varve / best other', ...right },
  ];
  const rows = comparison.rows.map((row) => [
    row.title,
    ...comparison.names.map((name) => {
      const cell = row.cells[name];
      if (cell === undefined) return '–';
      const text = cell.rival ? amount(cell.value) : `(${amount(cell.value)})`;
      return name === row.best ? `*${text}` : text;
    }),
    ratioText(row.ratio),
  ]);
  return table(io, columns, rows);
}

export function markdown(results: Results): string {
  const parts = [`${conditions(results)}.`, '', `    ${results.command}`, ''];
  for (const comparison of comparisons(results)) parts.push(...markdownTable(comparison), '');
  parts.push('How each was set up:', '');
  for (const [name, line] of designs(results)) parts.push(`- **${name}**: ${line}`);
  return `${parts.join('\n')}\n`;
}

function markdownTable({ title, names, titles, rows, notes }: Comparison): string[] {
  const cells = (row: Comparison['rows'][number]) =>
    names.map((name) => {
      const cell = row.cells[name];
      if (cell === undefined) return '–';
      const value = cell.rival ? amount(cell.value) : `(${amount(cell.value)})`;
      return (name === row.best ? `**${value}**` : value) + (cell.detail === '' ? '' : ` (${cell.detail})`);
    });
  return [
    `### ${title[0]?.toUpperCase()}${title.slice(1)}`,
    '',
    `| work | ${names.map((name) => titles[name]).join(' | ')} | Varve / best other |`,
    `| --- |${' --- |'.repeat(names.length + 1)}`,
    ...rows.map((row) => `| ${row.title} | ${cells(row).join(' | ')} | ${ratioText(row.ratio)} |`),
    ...(notes.length > 0 ? ['', ...notes.map((note) => `- ${note}`)] : []),
  ];
}

function designs(results: Results): Map<string, string> {
  const lines = new Map<string, string>();
  for (const run of results.runs) {
    for (const { title, packages, design, diffHow, equalHow } of Object.values(run.peers)) {
      const how = `differences: ${diffHow}${equalHow === undefined ? '' : `; equality: ${equalHow}`}`;
      lines.set(title, `${versions(packages)}. ${design}. ${how}.`);
    }
  }
  for (const { title, packages, design } of Object.values(results.http?.kinds ?? {})) {
    const named = versions(packages);
    lines.set(title, `${named === '' ? '' : `${named}. `}${design}.`);
  }
  return lines;
}

function versions(packages: Readonly<Record<string, string>>): string {
  return Object.entries(packages)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
}
