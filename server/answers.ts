/**
 * Writes answers: JSON, problems, and records whose stored canonical bytes go out as they are, without being parsed. The envelope of
 * a record is composed by hand for that reason; schemas.ts says what it looks like and tests hold the two together.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RecordHeader, VersionRecord } from '../engine/index.js';
import { lasting } from './figures.js';
import { Incoming } from './incoming.js';
import { Answer } from './outbox.js';
import type { Problem } from './problem.js';

export const JSON_TYPE = 'application/json';
export const NDJSON_TYPE = 'application/x-ndjson';
export const PATCH_TYPE = 'application/json-patch+json';
export const PROBLEM_TYPE = 'application/problem+json';

export type Headers = Record<string, string | number>;

/** What every answer carries: never sniffed, never embedded by another site, always asked for anew. */
const COMMON = ['Cache-Control', 'no-cache', 'X-Content-Type-Options', 'nosniff', 'Cross-Origin-Resource-Policy', 'same-origin'] as const;

/** Flat, as node writes them fastest: name, value, name, value. */
function flatHeaders(headers: Headers): (string | number)[] {
  const flat: (string | number)[] = [...COMMON];
  for (const name in headers) flat.push(name, headers[name]!);
  return flat;
}

/** A string goes out in one write with the headers, bytes in a second one: up to this, making a string of them costs less. */
const ONE_WRITE_BYTES = 16 * 1024;

export function send(res: ServerResponse, status: number, headers: Headers, body?: string | Uint8Array): void {
  if (body !== undefined && typeof body !== 'string' && body.length <= ONE_WRITE_BYTES)
    return sendLatin1(res, status, headers, latin1Of(body));
  const length = body === undefined ? undefined : typeof body === 'string' ? Buffer.byteLength(body) : body.length;
  const all = flatHeaders(headers);
  if (length !== undefined) all.push('Content-Length', length);
  else if (status !== 204 && status !== 304) all.push('Content-Length', 0);
  res.writeHead(status, all as string[]);
  res.end(body);
}

/** The same; `done` is called once nobody looks at the bytes any more. Where their connection breaks first it is not. */
export function sendOnce(res: ServerResponse, status: number, headers: Headers, body: Uint8Array, done: (body: Uint8Array) => void): void {
  const isCopied = body.length <= ONE_WRITE_BYTES;
  if (!isCopied) res.once('finish', () => done(body));
  send(res, status, headers, body);
  if (isCopied) done(body);
}

const STATUS_LINES: Readonly<Record<number, string>> = { 200: 'HTTP/1.1 200 OK', 201: 'HTTP/1.1 201 Created' };
const COMMON_LINES = `\r\n${linesOf(COMMON)}`;
/** Of what node takes in a header: all that ours hold. */
const HEADER_TEXT = /^[\x20-\x7e]*$/;

function linesOf(flat: readonly (string | number)[]): string {
  let lines = '';
  for (let n = 0; n < flat.length; n += 2) lines += `${flat[n]}: ${flat[n + 1]}\r\n`;
  return lines;
}

/** Status line and headers as one text, or undefined where it takes node to write them. */
function headText(status: number, headers: Headers, length: number): string | undefined {
  const line = STATUS_LINES[status];
  if (line === undefined) return undefined;
  let text = line + COMMON_LINES;
  for (const name in headers) {
    const value = headers[name]!;
    if (typeof value === 'string' && !HEADER_TEXT.test(value)) return undefined;
    text += `${name}: ${value}\r\n`;
  }
  return `${text}Content-Length: ${length}\r\n`;
}

/** `bytes`: one char a byte. */
function sendLatin1(res: ServerResponse, status: number, headers: Headers, bytes: string): void {
  if (res instanceof Answer && res.mayBeWhole) {
    const head = headText(status, headers, bytes.length);
    if (head !== undefined) return res.sendWhole(status, head, bytes);
  }
  const all = flatHeaders(headers);
  all.push('Content-Length', bytes.length);
  res.writeHead(status, all as string[]);
  res.end(bytes, 'latin1');
}

function latin1Of(bytes: Uint8Array): string {
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)).toString('latin1');
}

/** Answers with a whole record. A small one is never a buffer of its own: its stored bytes are cut into the text of the answer. */
export function sendRecord(res: ServerResponse, headers: Headers, record: VersionRecord): void {
  const body = record.bodyBytes;
  if (body === undefined || body.length > ONE_WRITE_BYTES) return send(res, 200, headers, recordBytes(record));
  const head = openHeader(record);
  sendLatin1(res, 200, headers, `${NOT_ASCII.test(head) ? latin1Of(Buffer.from(head)) : head},"body":${latin1Of(body)}}`);
}

/** Answers with a record without its body. */
export function sendHeader(res: ServerResponse, status: number, headers: Headers, record: RecordHeader): void {
  const text = headerJson(record);
  if (NOT_ASCII.test(text)) send(res, status, headers, text);
  else sendLatin1(res, status, headers, text);
}

export function sendJson(res: ServerResponse, status: number, value: unknown, headers: Headers = {}): void {
  send(res, status, { 'Content-Type': JSON_TYPE, ...headers }, JSON.stringify(value));
}

/** Begins an answer of many lines. */
export function beginStream(res: ServerResponse, headers: Headers = {}): void {
  lasting(res);
  res.writeHead(200, flatHeaders({ 'Content-Type': NDJSON_TYPE, ...headers }) as string[]);
  res.flushHeaders();
}

/** Where the answer has begun already there is nothing left to say but to cut it short. */
export function sendProblem(req: IncomingMessage, res: ServerResponse, problem: Problem, requestId: string): void {
  if (res.headersSent || res.writableEnded) {
    res.destroy();
    return;
  }
  letRunOut(req);
  const headers = { ...problem.headers, 'Content-Type': PROBLEM_TYPE, 'Varve-Request-Id': requestId };
  send(res, problem.status, headers, JSON.stringify({ ...problem.toJSON(), requestId }));
}

const RUN_OUT_BYTES = 64 * 1024 * 1024;
const RUN_OUT_MS = 5_000;

/** Discards what is left of a request body, so that the client reads the refusal instead of a reset; only so much and so long. */
export function letRunOut(req: IncomingMessage): void {
  if (req.complete || req.destroyed) return;
  if (req instanceof Incoming) req.letGo();
  let bytes = 0;
  const cut = setTimeout(() => req.destroy(), RUN_OUT_MS);
  cut.unref();
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > RUN_OUT_BYTES) req.destroy();
  });
  req.on('close', () => clearTimeout(cut)).on('end', () => clearTimeout(cut));
  req.on('error', () => {});
}

const NOT_ASCII = /[^\x00-\x7f]/;
/** Keys that are their own JSON, but for the quotes. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** Everything of a record but its body, without the closing brace. Ids, times and collections need no escapes. */
function openHeader(record: RecordHeader): string {
  const key = record.key;
  const refs = record.refs.length === 0 ? '' : `"${record.refs.join('","')}"`;
  const supersedes = record.supersedes === null ? 'null' : `"${record.supersedes}"`;
  return (
    `{"id":"${record.id}","shard":${record.shard},"seq":${record.seq},"time":"${record.time}","collection":"${record.collection}"` +
    `,"key":${PLAIN.test(key) ? `"${key}"` : JSON.stringify(key)},"supersedes":${supersedes},"refs":[${refs}],"deleted":${record.deleted},"hash":"${record.hash}"`
  );
}

/** A record without its body. */
export function headerJson(record: RecordHeader): string {
  return `${openHeader(record)}}`;
}

/** Without its body, because there is none: it ended the entity, or was erased. */
function bodilessJson(record: VersionRecord): string {
  return record.erased ? `${openHeader(record)},"erased":true}` : headerJson(record);
}

/** A record with its body. `after` follows it (a newline in a stream). */
export function recordBytes(record: VersionRecord, after = ''): Buffer {
  const body = record.bodyBytes;
  if (body === undefined) return Buffer.from(bodilessJson(record) + after);
  const head = `${openHeader(record)},"body":`;
  const headBytes = Buffer.byteLength(head);
  const whole = Buffer.allocUnsafe(headBytes + body.length + 1 + after.length);
  whole.write(head, 0, 'utf8');
  whole.set(body, headBytes);
  whole.write(`}${after}`, headBytes + body.length, 'latin1');
  return whole;
}

/** `{"records":[…],<rest>}` from parts that are JSON already. */
export function pageBytes(records: readonly Uint8Array[], rest: string): Buffer {
  const parts: Uint8Array[] = [Buffer.from('{"records":[')];
  const comma = Buffer.from(',');
  records.forEach((record, index) => {
    if (index > 0) parts.push(comma);
    parts.push(record);
  });
  parts.push(Buffer.from(`],${rest}}`));
  return Buffer.concat(parts);
}
