/**
 * The chart: for every row how many times better or worse Varve is than its best rival, as a bar from 1 on a logarithmic scale, and
 * every peer beside it as a dot. SVG by hand: text, lines and rectangles are all it takes.
 */
import { betterBy, type ComparedRow, type Comparison, OURS, ratioText } from './compare.js';

const WIDTH = 1120;
const LEFT = 300;
const RIGHT = 190;
const ROW = 22;
const TOP = 96;
const SECTION = 54;
const FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"';
const INK = '#1f2933';
const FAINT = '#7b8794';
const AHEAD = '#2f855a';
const BEHIND = '#c05621';
/** Told apart by those who see colours otherwise, too (Okabe and Ito's, less the two of the bars). */
const DOTS = ['#0072b2', '#cc79a7', '#e69f00', '#56b4e9', '#555555', '#8a6d00', '#6a3d9a'];
const FARTHEST = 100;

export function chart(comparisons: readonly Comparison[], subtitle: string): string {
  const shown = comparisons
    .map((comparison) => ({ ...comparison, rows: comparison.rows.filter(({ ratio }) => ratio !== undefined) }))
    .filter(({ rows }) => rows.length > 0);
  const reach = reachOf(shown);
  const x = (ratio: number) => {
    const share = Math.log(Math.min(reach, Math.max(1 / reach, ratio))) / Math.log(reach);
    return LEFT + ((WIDTH - LEFT - RIGHT) * (1 + share)) / 2;
  };
  const parts: string[] = [];
  let y = TOP;
  for (const comparison of shown) {
    parts.push(...section(comparison, y, x, reach));
    y += SECTION + comparison.rows.length * ROW + 16;
  }
  const height = y + 8;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ${FONT} font-size="13" fill="${INK}"><title>Varve beside the best of its peers</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(24, 34, 'Varve beside the best of its peers', 'font-size="20" font-weight="600"'),
    text(
      24,
      56,
      'Bars: how many times better (right, green) or worse (left, orange) Varve is than the best other. Dots: every peer against that best.',
    ),
    text(24, 76, subtitle, `fill="${FAINT}" font-size="11"`),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

/** How far the axis goes each way: whole steps, and not for the sake of one far dot. */
function reachOf(comparisons: readonly Comparison[]): number {
  const ratios = comparisons.flatMap(({ rows }) => rows.map(({ ratio = 1 }) => Math.max(ratio, 1 / ratio)));
  const most = Math.max(2, ...ratios);
  return [2, 5, 10, 20, 50, FARTHEST].find((step) => most <= step) ?? FARTHEST;
}

function section(comparison: Comparison, top: number, x: (ratio: number) => number, reach: number): string[] {
  const parts = [text(24, top + 16, comparison.title, 'font-weight="600" font-size="14"'), ...legend(comparison, top + 38)];
  const first = top + SECTION;
  const last = first + comparison.rows.length * ROW;
  for (const step of [2, 5, 10, 20, 50, FARTHEST].filter((one) => one <= reach)) {
    for (const at of [step, 1 / step]) {
      parts.push(line(x(at), first - 2, last, '#e4e7eb'));
      parts.push(text(x(at), last + 12, at > 1 ? `${step}×` : `1/${step}`, `text-anchor="middle" font-size="10" fill="${FAINT}"`));
    }
  }
  comparison.rows.forEach((row, i) => {
    parts.push(...bar(comparison, row, first + i * ROW, x, reach));
  });
  parts.push(line(x(1), first - 2, last, INK), text(x(1), last + 12, 'equal', `text-anchor="middle" font-size="10" fill="${FAINT}"`));
  return parts;
}

function bar(comparison: Comparison, row: ComparedRow, top: number, x: (ratio: number) => number, reach: number): string[] {
  const ratio = row.ratio ?? 1;
  const ahead = ratio >= 1;
  const colour = ahead ? AHEAD : BEHIND;
  const from = Math.min(x(1), x(ratio));
  const width = Math.max(1, Math.abs(x(ratio) - x(1)));
  const beyond = ratio > reach || ratio < 1 / reach ? ' »' : '';
  const rival = comparison.titles[row.bestRival ?? ''] ?? '';
  const parts = [
    text(LEFT - 12, top + 15, row.title, 'text-anchor="end"'),
    `<rect x="${fixed(from)}" y="${top + 4}" width="${fixed(width)}" height="${ROW - 8}" fill="${colour}" opacity="0.85"/>`,
    text(WIDTH - RIGHT + 12, top + 15, `${ratioText(row.ratio)} ${rival}${beyond}`, `fill="${colour}" font-weight="600" font-size="12"`),
  ];
  const best = row.bestRival === undefined ? undefined : row.cells[row.bestRival]?.value;
  for (const [name, cell] of Object.entries(row.cells)) {
    const relative = best === undefined || name === OURS ? undefined : betterBy(row.better, cell.value, best);
    // Farther out than the axis goes says no more than the bar does.
    if (relative === undefined || relative < 1 / reach || relative > reach) continue;
    const fill = cell.rival
      ? `fill="${dotOf(comparison, name)}" stroke="#ffffff"`
      : `fill="#ffffff" stroke="${dotOf(comparison, name)}" stroke-width="1.5"`;
    parts.push(`<circle cx="${fixed(x(relative))}" cy="${top + ROW / 2}" r="4" ${fill}/>`);
  }
  return parts;
}

function legend(comparison: Comparison, y: number): string[] {
  const parts: string[] = [];
  let left = LEFT;
  for (const name of comparison.names) {
    if (name === OURS) continue;
    const title = comparison.titles[name] ?? name;
    parts.push(`<circle cx="${left}" cy="${y - 4}" r="4" fill="${dotOf(comparison, name)}"/>`);
    parts.push(text(left + 9, y, title, 'font-size="11"'));
    left += 26 + title.length * 6.4;
  }
  const hollow = comparison.rows.some((row) => Object.values(row.cells).some((cell) => !cell.rival));
  if (hollow) {
    parts.push(`<circle cx="${left}" cy="${y - 4}" r="4" fill="#ffffff" stroke="${FAINT}" stroke-width="1.5"/>`);
    parts.push(text(left + 9, y, 'does less (no sync, fewer entities)', `font-size="11" fill="${FAINT}"`));
  }
  return parts;
}

function dotOf(comparison: Comparison, name: string): string {
  const others = comparison.names.filter((one) => one !== OURS);
  return DOTS[others.indexOf(name) % DOTS.length] ?? FAINT;
}

function text(x: number, y: number, content: string, more = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return `<text x="${fixed(x)}" y="${fixed(y)}" ${more}>${escaped}</text>`;
}

function line(x: number, from: number, to: number, colour: string): string {
  return `<line x1="${fixed(x)}" x2="${fixed(x)}" y1="${from}" y2="${to}" stroke="${colour}"/>`;
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}
