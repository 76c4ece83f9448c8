/**
 * Sends a file of NDJSON to the server: plain lines as one long stream, read and answered at the same time;
 * batches of several records, and placements, as requests of their own, in the order of the file.
 *
 *     lines ──> stream of plain lines ──> [batch] ──> stream ──> …
 *
 * A ref to a record of the dump waits until that record has its new id. A failed line costs only itself and
 * what refers to it. Nothing is sent twice: an interrupted load is gone on with by loading the rest of the file.
 */
import { type DumpLine, parseDumpLine } from './dump-format.js';
import { type HttpClient, ProblemError } from './http-client.js';
import { IdMap } from './id-map.js';

export interface LoadFailure {
  /** From 1, as an editor counts. */
  readonly line: number;
  readonly problem: string;
}

export interface LoadSummary {
  readonly lines: number;
  readonly inserted: number;
  readonly failed: number;
}

export interface LoadOptions {
  readonly failed: (failure: LoadFailure) => void;
  readonly progress?: (bytes: number) => void;
}

interface Numbered {
  readonly number: number;
  readonly line: DumpLine;
}
type Answer = { line: number; id: string } | { line: number; error: { title?: string; detail?: string } } | { done: true };
/** A line that was sent, in the order of its answer. */
interface Sent {
  readonly number: number;
  readonly oldId: string | undefined;
}

export async function load(client: HttpClient, lines: AsyncIterable<Buffer>, options: LoadOptions): Promise<LoadSummary> {
  const ids = new IdMap();
  let inserted = 0;
  let failed = 0;
  let count = 0;
  const fail = (line: number, problem: string) => {
    failed += 1;
    options.failed({ line, problem });
  };

  const source = numbered(lines, (number, bytes) => {
    count = number;
    options.progress?.(bytes);
  });
  let next = await source.next();
  const sent: Sent[] = [];
  let answered = () => {};

  /** Plain lines up to the next that is not one. */
  async function* plain(): AsyncGenerator<Buffer> {
    for (; !next.done; next = await source.next()) {
      const { number, line } = next.value;
      if (line.kind === 'plain') {
        sent.push({ number, oldId: undefined });
        yield line.line;
        continue;
      }
      if (line.kind !== 'record') return;
      while (sent.length > 0 && line.refs.some((ref) => ids.get(ref) === undefined)) {
        await new Promise<void>((resolve) => {
          answered = resolve;
        });
      }
      const refs = line.refs.map((ref) => ids.get(ref));
      if (refs.includes(undefined)) {
        fail(number, 'refers to a record that was not loaded');
        continue;
      }
      sent.push({ number, oldId: line.oldId });
      yield Buffer.concat([Buffer.from(refs.length === 0 ? '{' : `{"refs":${JSON.stringify(refs)},`), line.rest]);
    }
  }

  while (!next.done) {
    const { number, line } = next.value;
    if (line.kind === 'record' || line.kind === 'plain') {
      for await (const answer of client.exchange<Answer>('/v1/records', plain())) {
        if ('done' in answer) continue;
        const { number: at, oldId } = sent.shift() as Sent;
        if ('error' in answer) fail(at, answer.error.detail ?? answer.error.title ?? 'refused');
        else {
          inserted += 1;
          if (oldId !== undefined) ids.set(oldId, answer.id);
        }
        answered();
      }
    } else {
      try {
        if (line.kind === 'batch') inserted += await sendBatch(client, line, ids);
        else await place(client, line);
      } catch (error) {
        if (!(error instanceof ProblemError) || error.status >= 500) throw error;
        fail(number, error.message);
      }
      next = await source.next();
    }
  }
  return { lines: count, inserted, failed };
}

async function sendBatch(client: HttpClient, line: DumpLine & { kind: 'batch' }, ids: IdMap): Promise<number> {
  const { records } = await client.json<{ records: { id: string }[] }>('POST', '/v1/records', {
    headers: { 'content-type': 'application/json' },
    body: mapRefs(line.json, ids),
  });
  records.forEach(({ id }, index) => {
    const oldId = line.oldIds[index];
    if (oldId !== undefined) ids.set(oldId, id);
  });
  return records.length;
}

/** Refs out of the batch name old ids. Parsed only where there may be some: the server judges bytes as they came. */
function mapRefs(json: Buffer, ids: IdMap): Buffer {
  if (!/"refs":\["[0-9a-f"]/.test(json.toString('latin1')) && !/"refs":\[[^\]]*"[0-9a-f]{16}"/.test(json.toString('latin1'))) return json;
  const batch = JSON.parse(json.toString('utf8')) as { records: { refs?: string[] }[] };
  for (const record of batch.records) {
    if (record.refs !== undefined) record.refs = record.refs.map((ref) => ids.get(ref) ?? ref);
  }
  return Buffer.from(JSON.stringify(batch));
}

function place(client: HttpClient, line: DumpLine & { kind: 'collection' }): Promise<unknown> {
  return client.json('PUT', `/v1/collections/${line.name}`, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ placement: line.placement }),
  });
}

async function* numbered(lines: AsyncIterable<Buffer>, seen: (number: number, bytes: number) => void): AsyncGenerator<Numbered> {
  let number = 0;
  let bytes = 0;
  for await (const line of lines) {
    number += 1;
    bytes += line.length + 1;
    seen(number, bytes);
    if (line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)) continue;
    yield { number, line: parseDumpLine(line) };
  }
}
