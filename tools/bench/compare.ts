/** Who is best at what: rows of figures over the contestants of one run, made ready for a table and a chart. */
import type { HttpResult } from './http/result.js';
import type { Measured } from './job.js';
import type { RunResult } from './results.js';
import { amount, HTTP_ROWS, ROWS, type Row } from './rows.js';

/** Whoever is measured on the same work. */
interface Contestant {
  readonly title: string;
  readonly durable: boolean;
  readonly entities: number;
  readonly workloads: Measured;
}

interface Field {
  readonly entities: number;
  readonly peers: Readonly<Record<string, Contestant>>;
}

export interface Cell {
  readonly value: number;
  readonly detail: string;
  /** Counts for the best: does all that the row asks for. */
  readonly rival: boolean;
}

export interface ComparedRow {
  readonly title: string;
  readonly better: 'more' | 'less';
  /** By name of the contestant. */
  readonly cells: Readonly<Record<string, Cell>>;
  /** Best of all that count, Varve included. */
  readonly best: string | undefined;
  /** Best of the others that count. */
  readonly bestRival: string | undefined;
  /** Above 1: Varve is that many times better than its best rival. */
  readonly ratio: number | undefined;
}

export interface Comparison {
  readonly title: string;
  /** In the order they were measured, Varve first where it is among them. */
  readonly names: readonly string[];
  readonly titles: Readonly<Record<string, string>>;
  readonly rows: readonly ComparedRow[];
  readonly notes: readonly string[];
}

export const OURS = 'varve';

export function compareRun(run: RunResult): Comparison {
  const what = run.data === 'git' ? 'a git history' : 'entity histories';
  const title = `${what}: ${run.versions.toLocaleString('en-US')} versions of ${run.entities.toLocaleString('en-US')} entities`;
  const notes = Object.values(run.peers).flatMap((peer) => [
    ...(peer.durable ? [] : [`${peer.title} does not sync: its writes do not count for the best (${peer.durableNote ?? 'by design'})`]),
    ...(peer.entities === run.entities ? [] : [`${peer.title} was run with ${peer.entities.toLocaleString('en-US')} entities`]),
    ...peer.errors.map((error) => `${peer.title}: ${error}`),
  ]);
  return compare(title, ROWS, run, notes);
}

export function compareHttp(http: HttpResult): Comparison {
  const peers: Record<string, Contestant> = {};
  const notes = ['only varve serve has its writes on disk when it answers; bare node:http and Express keep them in a Map'];
  for (const [name, kind] of Object.entries(http.kinds)) {
    peers[name] = { title: kind.title, durable: true, entities: http.entities, workloads: kind.workloads };
    notes.push(...kind.errors.map((error) => `${kind.title}: ${error}`));
  }
  const title = `over HTTP on loopback: ${http.entities.toLocaleString('en-US')} entities, server and generator a process each`;
  return compare(title, HTTP_ROWS, { entities: http.entities, peers }, notes);
}

function compare(title: string, rows: readonly Row[], field: Field, notes: readonly string[]): Comparison {
  const names = Object.keys(field.peers).sort((a, b) => Number(b === OURS) - Number(a === OURS));
  const compared = rows.map((row) => compareRow(row, field, names)).filter((row) => Object.keys(row.cells).length > 0);
  const titles = Object.fromEntries(names.map((name) => [name, field.peers[name]?.title ?? name]));
  return { title, names, titles, rows: compared, notes };
}

function compareRow(row: Row, field: Field, names: readonly string[]): ComparedRow {
  const cells: Record<string, Cell> = {};
  for (const name of names) {
    const contestant = field.peers[name]!;
    const figures = contestant.workloads[row.workload];
    const value = figures && row.value(figures, contestant.workloads);
    if (figures === undefined || value === undefined || !Number.isFinite(value)) continue;
    const rival = (row.durable !== true || contestant.durable) && (row.sameSize !== true || contestant.entities === field.entities);
    cells[name] = { value, detail: row.detail?.(figures) ?? '', rival };
  }
  const ranked = names.filter((name) => cells[name]?.rival === true);
  ranked.sort((a, b) => (row.better === 'more' ? 1 : -1) * (cells[b]!.value - cells[a]!.value));
  const bestRival = ranked.find((name) => name !== OURS);
  const ours = cells[OURS]?.value;
  const theirs = bestRival === undefined ? undefined : cells[bestRival]!.value;
  return {
    title: row.title,
    better: row.better,
    cells,
    best: ranked[0],
    bestRival,
    ratio: ours === undefined || theirs === undefined ? undefined : betterBy(row.better, ours, theirs),
  };
}

/** How many times better the first is; undefined where that is no number. */
export function betterBy(better: 'more' | 'less', one: number, other: number): number | undefined {
  const ratio = better === 'more' ? one / other : other / one;
  return Number.isFinite(ratio) && ratio > 0 ? ratio : undefined;
}

export function ratioText(ratio: number | undefined): string {
  if (ratio === undefined) return '–';
  return `${ratio >= 10 || ratio < 0.1 ? amount(ratio) : ratio.toFixed(2)}×`;
}
