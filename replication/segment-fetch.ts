/**
 * One sealed segment brought over whole: into a temporary file, on from where it broke off, checked byte for byte, then given its name.
 *
 * Invariants: under its proper name stands only what passed every checksum of its frames and footer and its own BLAKE3, for this database,
 * shard and place; it is synced before the rename. A crash leaves a temporary file, which the next attempt goes on with.
 */
import { type Clock, checkSegmentFile, type File, messageOf, type Platform } from '../engine/copying.js';
import { isVarveError } from '../engine/index.js';
import { PeerError, type PeerResponse, type Transport } from './transport.js';

export interface SegmentWanted {
  readonly database: string;
  readonly shard: number;
  readonly name: string;
  readonly bytes: number;
}

/** The source has not got it any more. */
export class SegmentReplaced extends Error {
  override readonly name = 'SegmentReplaced';
}

/** What came is not what it should be. */
export class BadSegment extends Error {
  override readonly name = 'BadSegment';
}

const HEADERS_MS = 10_000;
const SILENCE_MS = 10_000;

/** Bytes that came over the network. Throws PeerError where another attempt may go on, SegmentReplaced, BadSegment. */
export async function fetchSegment(
  platform: Platform,
  transport: Transport,
  url: string,
  directory: string,
  wanted: SegmentWanted,
  signal: AbortSignal,
): Promise<void> {
  const { files, clock } = platform;
  const path = `${directory}/${wanted.name}`;
  const temporary = `${path}.tmp`;
  const file = files.open(temporary, files.exists(temporary) ? 'update' : 'create');
  let at = file.size();
  try {
    if (at > wanted.bytes) {
      await file.truncate(0);
      at = 0;
    }
    if (at < wanted.bytes) await receive(file, at, clock, transport, url, wanted, signal);
    await file.sync();
  } finally {
    file.close();
  }
  try {
    checkSegmentFile(files, temporary, { ...wanted, sealed: true });
  } catch (error) {
    files.remove(temporary);
    if (!isVarveError(error, 'CORRUPT') && !isVarveError(error, 'INCOMPATIBLE')) throw error;
    throw new BadSegment(`${url}: ${messageOf(error)}`, { cause: error });
  }
  files.rename(temporary, path);
  await files.syncDirectory(directory);
}

async function receive(
  file: File,
  from: number,
  clock: Clock,
  transport: Transport,
  url: string,
  { shard, name, bytes }: SegmentWanted,
  signal: AbortSignal,
): Promise<void> {
  const call = new AbortController();
  const hangUp = (): void => call.abort();
  signal.addEventListener('abort', hangUp);
  try {
    const response = await transport.request(url, {
      method: 'GET',
      path: `/replication/v1/shards/${shard}/segments/${name}`,
      headers: { range: `bytes=${from}-` },
      timeoutMs: HEADERS_MS,
      stream: true,
      signal: call.signal,
    });
    if (response.status === 404) throw new SegmentReplaced(name);
    if (response.status !== 206) throw new PeerError(url, `it answered ${response.status} to ${name}`);
    if (response.headers['content-range'] !== `bytes ${from}-${bytes - 1}/${bytes}`) {
      throw new PeerError(url, `it sends another range of ${name} than was asked for`);
    }
    let at = from;
    for await (const chunk of withoutSilence(response, clock, url, hangUp)) {
      if (chunk.length > bytes - at) throw new PeerError(url, `it sends more of ${name} than there is`);
      const written = await file.write(chunk, 0, chunk.length, at);
      if (written !== chunk.length)
        throw new Error(`only ${written} of ${chunk.length} bytes of ${name} could be written: is the disk full?`);
      at += chunk.length;
    }
    if (at < bytes) throw new PeerError(url, `it broke off at ${at} of ${bytes} bytes of ${name}`);
  } finally {
    signal.removeEventListener('abort', hangUp);
    hangUp();
  }
}

async function* withoutSilence(
  { body }: PeerResponse,
  clock: Clock,
  url: string,
  hangUp: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let silent = false;
  const arm = (): (() => void) =>
    clock.after(SILENCE_MS, () => {
      silent = true;
      hangUp();
    });
  let cancel = arm();
  try {
    for await (const chunk of body) {
      cancel();
      yield chunk;
      cancel = arm();
    }
  } catch (error) {
    throw silent ? new PeerError(url, `nothing was heard for ${SILENCE_MS / 1000} s`, true, { cause: error }) : error;
  } finally {
    cancel();
  }
}
