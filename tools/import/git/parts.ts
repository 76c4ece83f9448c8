/**
 * Reads ahead in git and cuts commits into parts that fit a batch. A part is ready to send but for its time
 * and its refs, which only the answers to earlier parts give.
 *
 *     git log ──> commit ──> paths, blobs (asked for many at a time) ──> parts ──> bounded queue ──> sender
 *
 * Memory: the queue holds `MAX_AHEAD_BYTES`, plus one part, plus the blobs of one round of questions.
 */
import type { BlobReader, GitBlob } from './blobs.js';
import type { GitChange, GitCommit } from './log.js';
import { fileBody, isFile, keyOf, type Note, SUBMODULE_MODE } from './records.js';

/** One record of `files`, as JSON but for the closing of its refs. */
export interface FileItem {
  readonly key: string;
  /** Undefined for a tombstone. */
  readonly body: string | undefined;
}

export interface Part {
  readonly commit: GitCommit;
  /** 0 for a commit's first. */
  readonly index: number;
  readonly last: boolean;
  readonly items: readonly FileItem[];
}

export interface PartLimits {
  readonly maxBody: number;
  readonly maxBatchBytes: number;
  readonly maxBatchRecords: number;
}

/** Room a record takes in a request beside key and body, and the commit's own record. */
const ITEM_OVERHEAD_BYTES = 128;
const BLOBS_AT_ONCE = 32;
const MAX_AHEAD_BYTES = 48 * 1024 * 1024;

export async function* partsOf(
  commits: AsyncIterable<GitCommit>,
  blobs: BlobReader,
  limits: PartLimits,
  note: (note: Note) => void,
): AsyncGenerator<Part> {
  const maxBytes = limits.maxBatchBytes - 2 * limits.maxBody;
  const maxItems = limits.maxBatchRecords - 2;
  for await (const commit of commits) {
    let items: FileItem[] = [];
    let bytes = 0;
    let index = 0;
    for await (const item of itemsOf(commit, blobs, limits.maxBody, note)) {
      const size = itemBytes(item);
      if (items.length > 0 && (items.length >= maxItems || bytes + size > maxBytes)) {
        yield { commit, index, last: false, items };
        index += 1;
        items = [];
        bytes = 0;
      }
      items.push(item);
      bytes += size;
    }
    if (index > 0) note({ kind: 'split', sha: commit.sha, parts: index + 1 });
    yield { commit, index, last: true, items };
  }
}

function itemBytes(item: FileItem): number {
  return Buffer.byteLength(JSON.stringify(item.key)) + Buffer.byteLength(item.body ?? '') + ITEM_OVERHEAD_BYTES;
}

async function* itemsOf(commit: GitCommit, blobs: BlobReader, maxBody: number, note: (note: Note) => void): AsyncGenerator<FileItem> {
  const { sha } = commit;
  if (commit.replacedText) note({ kind: 'text', sha });
  for (let from = 0; from < commit.changes.length; from += BLOBS_AT_ONCE) {
    const round = commit.changes.slice(from, from + BLOBS_AT_ONCE);
    const asked = round.map((change) => (isFile(change.newMode) && 'key' in keyOf(change.path) ? blobs.read(change.blob) : undefined));
    for (const [i, change] of round.entries()) {
      const item = itemOf(sha, change, await asked[i], maxBody, note);
      if (item !== undefined) yield item;
    }
  }
}

function itemOf(
  sha: string,
  change: GitChange,
  blob: GitBlob | undefined,
  maxBody: number,
  note: (note: Note) => void,
): FileItem | undefined {
  const named = keyOf(change.path);
  if (!('key' in named)) {
    if (isFile(change.newMode)) note({ kind: 'path', sha, path: named.shown, reason: named.reason });
    return undefined;
  }
  if (blob === undefined) {
    // Named when it comes, not at every move to another commit.
    if (change.newMode === SUBMODULE_MODE && change.oldMode !== SUBMODULE_MODE) note({ kind: 'submodule', sha, path: named.key });
    return isFile(change.oldMode) ? { key: named.key, body: undefined } : undefined;
  }
  const { json, omitted } = fileBody(sha, change, blob, maxBody);
  if (blob.kind === 'missing') note({ kind: 'missing', sha, path: named.key, blob: change.blob });
  else if (omitted) note({ kind: 'omitted', sha, path: named.key, size: blob.size });
  return { key: named.key, body: json };
}

/** Runs `source` ahead of its reader by at most MAX_AHEAD_BYTES. */
export async function* readAhead(source: AsyncGenerator<Part>, maxBytes = MAX_AHEAD_BYTES): AsyncGenerator<Part> {
  const ready: { part: Part; bytes: number }[] = [];
  let held = 0;
  let ended = false;
  let failure: { error: unknown } | undefined;
  let wakeReader = () => {};
  let wakeSource = () => {};
  const pump = async () => {
    try {
      for await (const part of source) {
        const bytes = part.items.reduce((sum, item) => sum + itemBytes(item), 1024);
        ready.push({ part, bytes });
        held += bytes;
        wakeReader();
        while (held > maxBytes && !ended) await new Promise<void>((resolve) => (wakeSource = resolve));
        if (ended) return;
      }
    } catch (error) {
      failure = { error };
    } finally {
      ended = true;
      wakeReader();
    }
  };
  const pumping = pump();
  try {
    for (;;) {
      const next = ready.shift();
      if (next !== undefined) {
        held -= next.bytes;
        wakeSource();
        yield next.part;
      } else if (failure !== undefined) {
        throw failure.error;
      } else if (ended) {
        return;
      } else {
        await new Promise<void>((resolve) => (wakeReader = resolve));
      }
    }
  } finally {
    ended = true;
    wakeSource();
    await pumping;
  }
}
