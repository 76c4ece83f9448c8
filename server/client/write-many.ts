/**
 * Many inserts over few requests: items gather into requests of some size, each item a batch of its own with an idempotency key of its
 * own, so that a request whose answer broke off is sent again whole and counts once.
 *
 * Invariant: outcomes come in the order of the items, one each; nothing of a request is told before its answer is whole, or given up.
 */
import { isTransient, VarveConnectionError, VarveProblem } from './problem.js';
import { NDJSON, type Transport } from './transport.js';
import type { LineItem, WriteOptions } from './types.js';

/** What became of one item; `index` counts from 0. */
export type InsertOutcome =
  | { readonly index: number; readonly id: string; readonly replayed: boolean }
  | { readonly index: number; readonly error: VarveProblem };

interface AnswerLine {
  readonly line?: number;
  readonly id?: string;
  readonly replayed?: boolean;
  readonly error?: { readonly status: number };
  readonly done?: boolean;
}

const REQUEST_ITEMS = 500;
const REQUEST_CHARS = 1024 * 1024;

/** One, for one write. */
export function newKey(): string {
  // randomUUID is only there in secure contexts; a page over plain HTTP has bytes all the same.
  if (typeof globalThis.crypto.randomUUID === 'function') return globalThis.crypto.randomUUID();
  return Array.from(globalThis.crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export async function* insertMany(
  transport: Transport,
  items: Iterable<LineItem> | AsyncIterable<LineItem>,
  options: WriteOptions,
): AsyncGenerator<InsertOutcome, void, undefined> {
  const keyed = options.idempotencyKey !== false;
  let lines: string[] = [];
  let chars = 0;
  let index = 0;
  const send = async function* (): AsyncGenerator<InsertOutcome, void, undefined> {
    const outcomes = await sendLines(transport, lines, index, keyed, options);
    index += lines.length;
    lines = [];
    chars = 0;
    yield* outcomes;
  };
  for await (const item of items) {
    const line = JSON.stringify(keyed ? { idempotencyKey: newKey(), ...item } : item);
    if (lines.length > 0 && (lines.length >= REQUEST_ITEMS || chars + line.length > REQUEST_CHARS)) yield* send();
    lines.push(line);
    chars += line.length;
  }
  if (lines.length > 0) yield* send();
}

async function sendLines(
  transport: Transport,
  lines: readonly string[],
  firstIndex: number,
  again: boolean,
  { acks, signal }: WriteOptions,
): Promise<InsertOutcome[]> {
  const body = `${lines.join('\n')}\n`;
  const headers = { 'Content-Type': NDJSON, Accept: NDJSON };
  for (let failures = 0; ; failures++) {
    try {
      const outcomes: InsertOutcome[] = [];
      for await (const answer of transport.lines('POST', '/v1/records', {
        query: { acks },
        headers,
        body,
        signal,
      }) as AsyncGenerator<AnswerLine>) {
        const { line, id, replayed, error, done } = answer;
        if (done === true) return outcomes;
        if (line === undefined) continue;
        const index = firstIndex + line - 1;
        if (error !== undefined) outcomes.push({ index, error: new VarveProblem(error.status, error) });
        else if (id !== undefined) outcomes.push({ index, id, replayed: replayed === true });
      }
      throw new VarveConnectionError('cut-short', 'the answer to a stream of inserts was cut off');
    } catch (error) {
      signal?.throwIfAborted();
      if (!again || failures >= transport.retries || !isTransient(error)) throw error;
      await transport.pause(failures, error, signal);
    }
  }
}
