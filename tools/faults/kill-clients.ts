/**
 * HTTP clients that write until the server dies under them, and the ledger of what they were told.
 *
 * Every version carries a token of its own, so that after a restart each can be found, found twice, or
 * missed. Keys carry the number of the cycle: what a cycle wrote can be checked without reading the rest.
 */

export interface Item {
  readonly collection: string;
  readonly key: string;
  /** Names this version and no other; undefined for a delete. */
  readonly token: string | undefined;
}

/** Items that must appear together or not at all. */
export interface Attempt {
  readonly items: readonly Item[];
  readonly idempotencyKey: string | undefined;
  /** How to send it again. */
  readonly request: { method: string; path: string; body: string | undefined; contentType: string };
  /** Ids in order of the items, once acknowledged. */
  ids: readonly string[] | undefined;
  /** The server said no: it must not appear. */
  refused: boolean;
}

export interface Load {
  readonly url: string;
  /** Prefix of keys and tokens of this cycle. */
  readonly name: string;
  readonly clients: number;
  random(): number;
}

/** A collection whose records share a shard, so that a batch over several keys is allowed. */
export const GROUPED = 'orders';
const SPREAD = 'customers';

/** Writes until the first failure of every client (the server was killed). Fills `ledger` as it goes. */
export async function writeUntilKilled(load: Load, ledger: Attempt[]): Promise<void> {
  const clients = Array.from({ length: load.clients }, (_, client) => writeAsClient(load, client, ledger));
  await Promise.all(clients);
}

async function writeAsClient(load: Load, client: number, ledger: Attempt[]): Promise<void> {
  for (let n = 0; ; n++) {
    const token = `${load.name}-${client}-${n}`;
    const dice = load.random();
    try {
      if (dice < 0.5) await putOne(load, token, ledger);
      else if (dice < 0.75) await postBatch(load, token, ledger);
      else if (dice < 0.85) await deleteOne(load, ledger);
      else await streamLines(load, token, ledger);
    } catch (error) {
      if (error instanceof WrongAnswer) throw error;
      return;
    }
  }
}

/** Something the server must never say; ends the run. Anything else a client meets is the kill. */
export class WrongAnswer extends Error {}

function keyOf(load: Load): string {
  return `${load.name}/k${Math.floor(load.random() * 12)}`;
}

function bodyOf(load: Load, token: string): string {
  return JSON.stringify({ pad: 'x'.repeat(Math.floor(load.random() ** 4 * 20_000)), token });
}

async function putOne(load: Load, token: string, ledger: Attempt[]): Promise<void> {
  const key = keyOf(load);
  const attempt: Attempt = {
    items: [{ collection: SPREAD, key, token }],
    idempotencyKey: load.random() < 0.7 ? token : undefined,
    request: {
      method: 'PUT',
      path: `/v1/collections/${SPREAD}/entities/${encodeURIComponent(key)}`,
      body: bodyOf(load, token),
      contentType: 'application/json',
    },
    ids: undefined,
    refused: false,
  };
  ledger.push(attempt);
  await send(load.url, attempt);
}

async function deleteOne(load: Load, ledger: Attempt[]): Promise<void> {
  const key = keyOf(load);
  const attempt: Attempt = {
    items: [{ collection: SPREAD, key, token: undefined }],
    idempotencyKey: undefined,
    request: { method: 'DELETE', path: `/v1/collections/${SPREAD}/entities/${encodeURIComponent(key)}`, body: undefined, contentType: '' },
    ids: undefined,
    refused: false,
  };
  ledger.push(attempt);
  await send(load.url, attempt);
}

async function postBatch(load: Load, token: string, ledger: Attempt[]): Promise<void> {
  const count = 2 + Math.floor(load.random() * 5);
  const items = Array.from({ length: count }, (_, i) => ({ collection: GROUPED, key: keyOf(load), token: `${token}.${i}` }));
  const records = items.map(({ collection, key, token: name }, i) => ({
    collection,
    key,
    body: JSON.parse(bodyOf(load, name)) as unknown,
    ...(i > 0 ? { refs: ['#0'] } : {}),
  }));
  const attempt: Attempt = {
    items,
    idempotencyKey: load.random() < 0.7 ? token : undefined,
    request: { method: 'POST', path: '/v1/records', body: JSON.stringify({ records }), contentType: 'application/json' },
    ids: undefined,
    refused: false,
  };
  ledger.push(attempt);
  await send(load.url, attempt);
}

/** Sends an attempt and notes the answer. Throws where there is none. */
export async function send(url: string, attempt: Attempt): Promise<void> {
  const { method, path, body, contentType } = attempt.request;
  const headers: Record<string, string> = {};
  if (body !== undefined) headers['content-type'] = contentType;
  if (attempt.idempotencyKey !== undefined) headers['idempotency-key'] = attempt.idempotencyKey;
  const answer = await fetch(url + path, { method, headers, ...(body === undefined ? {} : { body }) });
  const told = (await answer.json()) as { id?: string; records?: { id: string }[] };
  if (answer.status === 201 || answer.status === 200) {
    const ids = told.records?.map((record) => record.id) ?? (told.id === undefined ? [] : [told.id]);
    if (ids.length !== attempt.items.length)
      throw new WrongAnswer(`${method} ${path}: ${ids.length} ids for ${attempt.items.length} items`);
    attempt.ids = ids;
  } else if (answer.status === 404 && method === 'DELETE') {
    attempt.refused = true;
  } else if (answer.status !== 503) {
    throw new WrongAnswer(`${method} ${path}: ${answer.status} ${JSON.stringify(told)}`);
  }
}

/** NDJSON: every line is a batch of its own, acknowledged by its own answer line. */
async function streamLines(load: Load, token: string, ledger: Attempt[]): Promise<void> {
  const attempts: Attempt[] = Array.from({ length: 1 + Math.floor(load.random() * 40) }, (_, i) => {
    const item = { collection: SPREAD, key: keyOf(load), token: `${token}.${i}` };
    const line = {
      collection: item.collection,
      key: item.key,
      body: JSON.parse(bodyOf(load, item.token)) as unknown,
      idempotencyKey: item.token,
    };
    return {
      items: [item],
      idempotencyKey: undefined,
      request: { method: 'POST', path: '/v1/records', body: `${JSON.stringify(line)}\n`, contentType: 'application/x-ndjson' },
      ids: undefined,
      refused: false,
    };
  });
  ledger.push(...attempts);
  const body = attempts.map((attempt) => attempt.request.body).join('');
  const answer = await fetch(`${load.url}/v1/records`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body });
  if (answer.status !== 200 && answer.status !== 201) throw new WrongAnswer(`ndjson: ${answer.status} ${await answer.text()}`);
  if (answer.body === null) throw new WrongAnswer('ndjson: no answer');
  let text = '';
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) noteLine(attempts, line);
  }
}

function noteLine(attempts: readonly Attempt[], line: string): void {
  const told = JSON.parse(line) as { line?: number; id?: string; error?: { status: number }; done?: boolean };
  if (told.done === true) return;
  const attempt = attempts[(told.line ?? 0) - 1];
  if (attempt === undefined) throw new WrongAnswer(`ndjson: answer for no line: ${line}`);
  if (told.id !== undefined) attempt.ids = [told.id];
  else if (told.error?.status !== 503) throw new WrongAnswer(`ndjson: ${line}`);
}
