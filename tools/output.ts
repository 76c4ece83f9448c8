/**
 * What a verb may touch of the world around it, and how it speaks: tables and colour for people, JSON for
 * machines, one line on stderr for what went wrong. Output goes to stdout; everything about the run to stderr.
 */
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';

export interface Io {
  readonly stdin: Readable;
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Wrong usage found after parsing: exit 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The verb ran and found a difference, or some of its work failed; what it says is said already: exit 1. */
export class Difference extends Error {
  override readonly name = 'Difference';
}

/** Whether colour may be used: a terminal, and nobody said no (https://no-color.org). */
export function colourful(io: Io): boolean {
  return io.stdout.isTTY === true && (io.env['NO_COLOR'] ?? '') === '' && io.env['TERM'] !== 'dumb';
}

/** Writes and waits where the reader is slow. */
export async function write(io: Io, text: string | Uint8Array): Promise<void> {
  if (!io.stdout.write(text)) await once(io.stdout, 'drain');
}

export async function writeJson(io: Io, value: unknown): Promise<void> {
  await write(io, `${JSON.stringify(value)}\n`);
}

/** Gathers lines into writes of some size. */
export class LineWriter {
  readonly #io: Io;
  #gathered = '';

  constructor(io: Io) {
    this.#io = io;
  }

  async line(text: string): Promise<void> {
    this.#gathered += `${text}\n`;
    if (this.#gathered.length > 32_768) await this.flush();
  }

  async flush(): Promise<void> {
    const text = this.#gathered;
    this.#gathered = '';
    if (text !== '') await write(this.#io, text);
  }
}

/** One line for people, never part of the output. */
export function say(io: Io, line: string): void {
  io.stderr.write(`${line}\n`);
}

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** Columns as wide as their widest cell; the last one is cut to the terminal's width. Control characters cannot get through. */
export function table(io: Io, columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(printable));
  const widths = columns.map(({ title }, i) => cells.reduce((width, row) => Math.max(width, length(row[i] ?? '')), title.length));
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
  const room = io.stdout.isTTY === true && io.stdout.columns !== undefined ? Math.max(20, io.stdout.columns - before) : undefined;
  const line = (row: readonly string[]) =>
    columns
      .map(({ right }, i) => {
        const cell = row[i] ?? '';
        if (i === columns.length - 1 && right !== true)
          return room !== undefined && length(cell) > room ? `${[...cell].slice(0, room - 1).join('')}…` : cell;
        const space = ' '.repeat(Math.max(0, (widths[i] ?? 0) - length(cell)));
        return right === true ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  const heading = line(columns.map(({ title }) => title));
  return [colourful(io) ? `\u001b[1m${heading}\u001b[22m` : heading, ...cells.map(line), ''].join('\n');
}

/** `name  value` lines. */
export function fields(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}\n`).join('');
}

/** What a terminal would act on becomes visible instead. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(
    /[\u0000-\u001f\u007f-\u009f]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** As it will be seen, near enough: a character a column. */
function length(text: string): number {
  return [...text].length;
}

/** `12,345` */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1 commit`, `2 commits` */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}
