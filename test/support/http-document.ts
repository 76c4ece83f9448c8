/**
 * A document with worked HTTP examples, run against a server: each ```http block that begins with a method is sent, the block after it
 * that begins with a status is what must come back.
 *
 * What differs from run to run (ids, times, hashes, cursors, request ids) stands in the document as one run gave it. It is matched one to
 * one: the same text in the document is the same value in the run, in later requests too. Headers that a document does not show are not
 * compared; `…` as the value of a member, or as a line of a text, stands for whatever else there is.
 */
import type { Reply } from '../server/support.js';

export interface Example {
  readonly line: number;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** As the document has it; empty where there is none yet. */
  readonly answer: string;
  /** Where the answer's block begins and ends in the text. */
  readonly place: readonly [number, number];
}

const PAIR = /```http\n([A-Z]+) (\S+)\n([\s\S]*?)```\n+```http\n([\s\S]*?)```/g;

export function examplesOf(text: string): Example[] {
  return [...text.matchAll(PAIR)].map((match) => {
    const [whole, method = '', target = '', rest = '', answer = ''] = match;
    const [head = '', ...body] = rest.split(/(?:^|\n)\n/);
    const end = match.index + whole.length - 3;
    return {
      line: text.slice(0, match.index).split('\n').length,
      method,
      target,
      headers: headersOf(head),
      body: body.join('\n\n').replace(/\n$/, ''),
      answer,
      place: [end - answer.length, end],
    };
  });
}

function headersOf(head: string): Record<string, string> {
  return Object.fromEntries(
    head
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
  );
}

/** Ids, hashes, salts · times · HTTP dates · cursors and other long texts of base64 · request ids · places in feeds. */
const VARIABLE =
  /\b[0-9a-f]{16,64}\b|\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z|[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Za-z0-9+_-]{24,}|\b[0-9a-f]{8}-[0-9a-z]+\b|\b1\.[0-9a-f]{8}\.[0-9.]+\b/g;

/** What in the document stands for what in the run. */
export class Correspondence {
  readonly #actual = new Map<string, string>();
  readonly #shown = new Map<string, string>();

  /** Text of the document with the values of the run. */
  toRun(text: string): string {
    return text.replaceAll(VARIABLE, (shown) => this.#actual.get(shown) ?? shown);
  }

  /** Text of the run with the values of the document. Values met for the first time are paired with those at their place in `shown`. */
  toDocument(actual: string, shown: string): string {
    const values = [...actual.matchAll(VARIABLE)].map(([value]) => value);
    const places = [...shown.matchAll(VARIABLE)].map(([value]) => value);
    if (values.length === places.length) values.forEach((value, index) => this.#pair(value, places[index]!));
    return actual.replaceAll(VARIABLE, (value) => this.#shown.get(value) ?? value);
  }

  #pair(actual: string, shown: string): void {
    if (this.#shown.has(actual) || this.#actual.has(shown)) return;
    this.#shown.set(actual, shown);
    this.#actual.set(shown, actual);
  }
}

const SHOWN_HEADERS = [
  'Content-Type',
  'ETag',
  'Location',
  'Content-Location',
  'Idempotent-Replay',
  'Memento-Datetime',
  'Link',
  'Vary',
  'Varve-Id',
  'Varve-Shard',
  'Varve-Seq',
  'Varve-Time',
  'Varve-Hash',
  'Varve-Supersedes',
  'Varve-Refs',
  'Varve-From',
  'Varve-To',
  'Accept-Ranges',
  'Content-Range',
  'WWW-Authenticate',
  'Allow',
  'Retry-After',
] as const;
const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  206: 'Partial Content',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  422: 'Unprocessable Entity',
  503: 'Service Unavailable',
};

/** An answer as a document shows it. `shown`: what it has now, which decides what is left out. */
export function renderAnswer(reply: Reply, shown: string): string {
  const before = shown.split(/(?:^|\n)\n/);
  const wanted = shown === '' ? undefined : new Set(Object.keys(headersOf(before[0]!.split('\n').slice(1).join('\n'))));
  const headers = SHOWN_HEADERS.flatMap((name) => {
    const value = reply.headers[name.toLowerCase()];
    return value === undefined || wanted?.has(name) === false ? [] : [`${name}: ${String(value)}`];
  });
  const head = [`HTTP/1.1 ${reply.status} ${REASONS[reply.status] ?? ''}`, ...headers].join('\n');
  const body = renderBody(reply, before.slice(1).join('\n\n'));
  return body === '' ? `${head}\n` : `${head}\n\n${body}\n`;
}

function renderBody(reply: Reply, shown: string): string {
  if (reply.text === '') return '';
  if (reply.headers['content-type'] === 'application/octet-stream') return `(${reply.bytes.length} bytes)`;
  if (reply.json !== undefined) return pretty(shown.includes('…') ? abridge(reply.json, JSON.parse(shown)) : reply.json);
  const text = reply.text.trimEnd();
  if (!/^…$/m.test(shown)) return text;
  // Each line of the document that the answer has too, in its place.
  const lines = new Set(text.split('\n'));
  return shown
    .trimEnd()
    .split('\n')
    .filter((line) => line === '…' || lines.has(line))
    .join('\n');
}

/** Leaves out of `value` what the document leaves out: members beside `…`, items after it. */
function abridge(value: unknown, shown: unknown): unknown {
  if (typeof shown !== 'object' || shown === null || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(shown) && Array.isArray(value)) return shown.map((item, index) => (item === '…' ? '…' : abridge(value[index], item)));
  const has = value as Record<string, unknown>;
  const has2 = shown as Record<string, unknown>;
  if (!('…' in has2)) return Object.fromEntries(Object.entries(has).map(([name, member]) => [name, abridge(member, has2[name])]));
  return Object.fromEntries(Object.entries(has2).map(([name, member]) => [name, name === '…' ? member : abridge(has[name], member)]));
}

const WIDTH = 120;

/** JSON on one line where it fits. */
function pretty(value: unknown, indent = ''): string {
  const line = inline(value);
  if (line.length + indent.length <= WIDTH || typeof value !== 'object' || value === null) return line;
  const deeper = `${indent}  `;
  if (Array.isArray(value)) return `[\n${value.map((item) => deeper + pretty(item, deeper)).join(',\n')}\n${indent}]`;
  const members = Object.entries(value).map(([name, member]) => `${deeper}${JSON.stringify(name)}: ${pretty(member, deeper)}`);
  return `{\n${members.join(',\n')}\n${indent}}`;
}

function inline(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  const members = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}: ${inline(member)}`);
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`;
}
