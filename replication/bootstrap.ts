/**
 * How an empty directory becomes a copy, before there is an engine: identity and sealed segments from a source.
 *
 *   /state -> directories -> segments, in order of seqs -> node.json, last of all
 *
 * Invariants: what stands under a proper name is a checked segment of this database, and what is there is a log at every moment;
 * node.json comes last, so that half a copy is no database; `bootstrap.json` says that what lies there was begun here and may be gone
 * on with. A crash at any point: the next call goes on.
 */
import {
  isSegmentName,
  logDirectory,
  messageOf,
  NODE_FILE,
  newIdentity,
  type Platform,
  readIdentity,
  shardDirectory,
  writeIdentity,
} from '../engine/copying.js';
import { parseStrict, VarveError } from '../engine/index.js';
import { Backoff } from './backoff.js';
import { isIdentity, isSeq, isShard } from './checks.js';
import { askJson, isRecord } from './peer-json.js';
import { BadSegment, fetchSegment, SegmentReplaced } from './segment-fetch.js';
import type { Transport } from './transport.js';

const MARKER = 'bootstrap.json';
const MAX_SHARDS = 65_535;
/** Of the same segment, in a row: then it is not the network. */
const BAD_SEGMENTS = 3;

export interface PrepareOptions {
  readonly platform: Platform;
  readonly transport: Transport;
  /** The source. */
  readonly url: string;
  /** Who else may have the database: asked in turn where the source does not answer. */
  readonly others?: readonly string[];
  /** Where none of them has a database, this directory may begin one: nothing is waited for. */
  readonly mayBegin?: boolean;
  readonly signal?: AbortSignal;
  readonly log?: (event: PrepareEvent) => void;
}

export type PrepareEvent =
  | { readonly what: 'began'; readonly database: string; readonly shards: number }
  | { readonly what: 'segment'; readonly shard: number; readonly name: string; readonly bytes: number; readonly left: number }
  | { readonly what: 'retry'; readonly reason: string; readonly waitMs: number };

export interface Prepared {
  /** Undefined where the directory was a database already. */
  readonly made?: { readonly segments: number; readonly bytes: number };
  /** Undefined where one may be begun. */
  readonly database: string | undefined;
}

interface ListedSegment {
  readonly shard: number;
  readonly name: string;
  readonly bytes: number;
  readonly firstSeq: number;
}

interface Origin {
  readonly database: string;
  readonly shards: number;
  /** Whose segments they are: another node cut the same log elsewhere, under names that may be the same. */
  readonly node: string;
}

/**
 * Makes the directory a copy of the database at `url`, or of that of `others`, unless it is one of a database already. Goes on where an earlier
 * call ended; waits for a source that does not answer. Throws INVALID where something else lies there, BadSegment, or what the disk throws.
 */
export async function prepareReplica(options: PrepareOptions): Promise<Prepared> {
  const { platform } = options;
  const present = readIdentity(platform);
  if (present !== undefined) {
    await removeMarker(platform);
    return { database: present.database };
  }
  const urls = [options.url, ...(options.others ?? [])];
  if (options.mayBegin === true && readMarker(platform) === undefined && (isInUse(platform) || !(await isHeldBy(options, urls))))
    return { database: undefined };
  const backoff = new Backoff((size) => platform.randomBytes(size));
  const bad = new Map<string, number>();
  const made = { segments: 0, bytes: 0 };
  for (let turn = 0; ; turn++) {
    const url = urls[turn % urls.length]!;
    try {
      const from = { ...options, url };
      const origin = await begin(from);
      await fetchAll(from, origin, made, () => backoff.reset());
      await writeIdentity(platform, { ...newIdentity(platform, origin.shards), database: origin.database, copy: true });
      await removeMarker(platform);
      return { database: origin.database, made };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof VarveError) throw error;
      if (error instanceof BadSegment) {
        const times = (bad.get(error.message) ?? 0) + 1;
        bad.set(error.message, times);
        if (times >= BAD_SEGMENTS) throw error;
      }
      if (isDiskError(error)) throw error;
      const waitMs = backoff.next();
      options.log?.({ what: 'retry', reason: messageOf(error), waitMs });
      await wait(platform, waitMs, options.signal);
    }
  }
}

/** Whether any of them says that it holds a database: one that began one and lost its disk is not to begin another. */
async function isHeldBy({ transport, signal }: PrepareOptions, urls: readonly string[]): Promise<boolean> {
  const request = { method: 'GET', path: '/replication/v1/state', timeoutMs: 3_000, ...(signal === undefined ? {} : { signal }) } as const;
  const answers = await Promise.all(urls.map((url) => askJson(transport, url, request).catch(() => undefined)));
  signal?.throwIfAborted();
  return answers.some((answer) => answer?.status === 200 && isRecord(answer.json) && isIdentity(answer.json['database']));
}

/** Who the source is; the directories are there afterwards, and the marker. */
async function begin({ platform, transport, url, signal, log }: PrepareOptions): Promise<Origin> {
  const begun = readMarker(platform);
  if (begun === undefined && isInUse(platform))
    throw new VarveError('INVALID', `the directory holds something, but no ${NODE_FILE}: no copy is begun over it`, {
      path: 'directory',
      expected: 'an empty one',
    });
  const answer = await askJson(transport, url, {
    method: 'GET',
    path: '/replication/v1/state',
    ...(signal === undefined ? {} : { signal }),
  });
  const state = answer.json;
  if (answer.status !== 200 || !isRecord(state)) throw new Error(`${url}: it answered ${answer.status} to the question who it is`);
  const { database, shards, node } = state;
  if (!isIdentity(database) || !isShard(shards, MAX_SHARDS) || !isIdentity(node))
    throw new Error(`${url}: it does not say which database it holds`);
  if (begun !== undefined && (begun.database !== database || begun.shards !== shards))
    throw new VarveError('INCOMPATIBLE', `a copy of another database was begun in this directory`, {
      expected: `${begun.database} of ${begun.shards} shards`,
      found: `${database} of ${shards} shards`,
    });
  const origin = { database, shards, node };
  if (begun === undefined) {
    await writeMarker(platform, origin);
    log?.({ what: 'began', database, shards });
  } else if (begun.node !== node) {
    for (let shard = 1; shard <= shards; shard++) await removeSegments(platform, shard);
    await writeMarker(platform, origin);
  }
  await layOut(platform, shards);
  return origin;
}

async function removeSegments({ files }: Platform, shard: number): Promise<void> {
  const directory = logDirectory(shard);
  if (!files.exists(directory)) return;
  for (const name of files.list(directory)) files.remove(`${directory}/${name}`);
  await files.syncDirectory(directory);
}

async function fetchAll(
  options: PrepareOptions,
  origin: Origin,
  made: { segments: number; bytes: number },
  progress: () => void,
): Promise<void> {
  const { platform, transport, url, signal = new AbortController().signal, log } = options;
  for (let again = true; again; ) {
    again = false;
    const listed = await listSegments(options, origin);
    removeStale(platform, origin, listed);
    let left = listed.length;
    for (const segment of listed) {
      left--;
      const directory = logDirectory(segment.shard);
      if (isThere(platform, `${directory}/${segment.name}`, segment.bytes)) continue;
      try {
        const wanted = { database: origin.database, ...segment };
        await fetchSegment(platform, transport, url, directory, wanted, signal);
      } catch (error) {
        if (!(error instanceof SegmentReplaced)) throw error;
        again = true;
        break;
      }
      made.segments++;
      made.bytes += segment.bytes;
      progress();
      log?.({ what: 'segment', shard: segment.shard, name: segment.name, bytes: segment.bytes, left });
    }
  }
}

/** Sealed ones, in order of shards and seqs, up to the first of each shard that is not. */
async function listSegments({ transport, url, signal }: PrepareOptions, origin: Origin): Promise<ListedSegment[]> {
  const request = {
    method: 'GET',
    path: '/replication/v1/segments',
    timeoutMs: 15_000,
    ...(signal === undefined ? {} : { signal }),
  } as const;
  const answer = await askJson(transport, url, request);
  const segments = isRecord(answer.json) ? answer.json['segments'] : undefined;
  if (answer.status !== 200 || !isRecord(answer.json) || answer.json['database'] !== origin.database || !Array.isArray(segments))
    throw new Error(`${url}: it answered ${answer.status} to the question for its segments`);
  const open = new Set<number>();
  const wanted: ListedSegment[] = [];
  const read = (segments as unknown[]).map((each) => {
    if (!isRecord(each)) throw new Error(`${url}: it names segments that cannot be`);
    const { shard, name, bytes, sealed, firstSeq } = each;
    const sound = isShard(shard, origin.shards) && typeof name === 'string' && isSegmentName(name) && isSeq(firstSeq);
    if (!sound || typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes <= 0)
      throw new Error(`${url}: it names segments that cannot be`);
    return { shard, name, bytes, sealed: sealed === true, firstSeq };
  });
  for (const { sealed, ...segment } of read.sort((a, b) => a.shard - b.shard || a.firstSeq - b.firstSeq)) {
    if (!sealed) open.add(segment.shard);
    if (!open.has(segment.shard)) wanted.push(segment);
  }
  return wanted;
}

/** A file of another size is that of a log that was cut and went on differently since. */
function isThere({ files }: Platform, path: string, bytes: number): boolean {
  if (!files.exists(path)) return false;
  const file = files.open(path, 'read');
  const isSame = file.size() === bytes;
  file.close();
  if (!isSame) files.remove(path);
  return isSame;
}

/** What an earlier call fetched and compaction has replaced at the source since. */
function removeStale({ files }: Platform, origin: Origin, listed: readonly ListedSegment[]): void {
  for (let shard = 1; shard <= origin.shards; shard++) {
    const directory = logDirectory(shard);
    const names = new Set(listed.filter((segment) => segment.shard === shard).flatMap(({ name }) => [name, `${name}.tmp`]));
    for (const name of files.list(directory)) if (!names.has(name)) files.remove(`${directory}/${name}`);
  }
}

async function layOut({ files }: Platform, shards: number): Promise<void> {
  for (let shard = 1; shard <= shards; shard++) {
    const directory = shardDirectory(shard);
    if (files.exists(logDirectory(shard)) && files.exists(`${directory}/tree`)) continue;
    files.makeDirectory(logDirectory(shard));
    files.makeDirectory(`${directory}/tree`);
    await files.syncDirectory(directory);
  }
  await files.syncDirectory('shards');
  await files.syncDirectory('');
}

function isInUse({ files }: Platform): boolean {
  if (!files.exists('')) return false;
  return files.list('').some((name) => name !== 'lock.sqlite' && name !== `${MARKER}.tmp` && name !== `${NODE_FILE}.tmp`);
}

function readMarker({ files }: Platform): Origin | undefined {
  if (!files.exists(MARKER)) return undefined;
  let value: unknown;
  try {
    value = parseStrict(files.readFile(MARKER));
  } catch {
    // told below
  }
  const { database, shards, node } = isRecord(value) ? value : {};
  if (isIdentity(database) && isShard(shards, MAX_SHARDS) && isIdentity(node)) return { database, shards, node };
  const what = 'it does not say which database was begun';
  throw new VarveError('CORRUPT', `${MARKER} is damaged: ${what}`, { file: MARKER, offset: 0, what });
}

async function writeMarker({ files }: Platform, origin: Origin): Promise<void> {
  const temporary = `${MARKER}.tmp`;
  if (!files.exists('')) files.makeDirectory('');
  if (files.exists(temporary)) files.remove(temporary);
  const bytes = Buffer.from(`${JSON.stringify(origin)}\n`);
  const file = files.open(temporary, 'create');
  try {
    if ((await file.write(bytes, 0, bytes.length, 0)) !== bytes.length)
      throw new Error(`${MARKER} could not be written: is the disk full?`);
    await file.sync();
  } finally {
    file.close();
  }
  files.rename(temporary, MARKER);
  await files.syncDirectory('');
}

async function removeMarker({ files }: Platform): Promise<void> {
  if (!files.exists(MARKER)) return;
  files.remove(MARKER);
  await files.syncDirectory('');
}

function isDiskError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('E');
}

function wait({ clock }: Platform, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    });
    signal?.addEventListener('abort', aborted);
  });
}
