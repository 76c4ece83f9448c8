/** What a store and the thread that folds for it say to each other. Everything here is what a structured clone takes; a run's memory is shared. */
import { isVarveError, messageOf, VarveError } from '../errors.js';
import type { VersionRun } from '../memtable-columns.js';
import type { CopyPlace } from './copy-writer.js';
import type { NewestRows } from './newest-scan.js';
import type { RootPlace } from './node-writer.js';
import type { TreeRoot } from './types.js';

/** How far the tree files of a shard are written: who appends next goes on from here. */
export interface WriterState {
  /** Grows when all files were removed: what was read of them is void. */
  readonly life: number;
  readonly numbers: readonly number[];
  /** The highest number a file has or had. */
  readonly highest: number;
  readonly last: RootPlace;
  /** Where frames may be appended; undefined: a new file is begun. */
  readonly tail: { readonly file: number; readonly end: number } | undefined;
}

/** Whose tree, and how its files stand. */
export interface TreeAt {
  readonly directory: string;
  readonly shard: number;
  readonly databaseId: Uint8Array;
  readonly fileBytes: number;
  readonly targetBytes: number;
  readonly state: WriterState;
}

export interface FoldRequest extends TreeAt {
  readonly root: TreeRoot | undefined;
  readonly run: VersionRun;
  readonly seq: number;
  /** Versions that go: pages of a SeqSet. */
  readonly drops?: ReadonlyMap<number, Uint8Array>;
  /** The tree is to be made anew there, of what is left of it. */
  readonly anew?: CopyPlace;
}

/** Newest versions of entities, for a table: `key` is the one their hashes are made with. */
export interface ScanRequest extends TreeAt {
  readonly key: Uint8Array;
  readonly from: Uint8Array | undefined;
  readonly limit: number;
  readonly scanned: TreeRoot;
}

/** The files of this directory are not read any more: what is open of them would keep their space. */
export interface ReleaseRequest {
  readonly release: string;
}

export type FoldAnswer =
  | { readonly kind: 'progress'; readonly share: number }
  | {
      readonly kind: 'folded';
      readonly root: TreeRoot;
      readonly state: WriterState;
      /** How many versions of each collection went. */
      readonly dropped: ReadonlyMap<string, number>;
      /** Of a tree made anew: what there is of it, and that it does not count yet. */
      readonly made?: { readonly files: readonly number[]; readonly nodes: number };
    }
  | ({ readonly kind: 'scanned' } & NewestRows)
  | { readonly kind: 'failed'; readonly error: SentError };

/** An error on its way between threads: classes do not survive it. */
export interface SentError {
  readonly message: string;
  readonly code: string | undefined;
  /** Set for a CORRUPT, the one that callers act upon. */
  readonly corrupt: { readonly file: string; readonly offset: number; readonly what: string } | undefined;
}

export function sendError(error: unknown): SentError {
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  return {
    message: messageOf(error),
    code: typeof code === 'string' ? code : undefined,
    corrupt: isVarveError(error, 'CORRUPT') ? error.details : undefined,
  };
}

export function receiveError({ message, code, corrupt }: SentError): Error {
  if (corrupt !== undefined) return new VarveError('CORRUPT', message, corrupt);
  const error = new Error(message);
  return code === undefined ? error : Object.assign(error, { code });
}
