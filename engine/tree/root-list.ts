/**
 * Finds the roots that lie in a shard's tree files, newest first.
 *
 *   … nodes · ROOT · nodes · ROOT          each root frame names the one before it, also across files
 *
 * After a clean close the newest root is the last frame of the last file: one read finds it. After a torn fold it is searched
 * backwards, whole root frames only (a root frame's CRC covers its place, so chance bytes are none).
 *
 * A root found here may be one that was never announced, but its nodes are there (the writer synced them before it). Only reads.
 */
import { isVarveError } from '../errors.js';
import type { Finding } from '../log/types.js';
import type { RootPlace } from './node-writer.js';
import { decodeRootFrame, FILE_HEADER_BYTES, ROOT_FRAME_BYTES, ROOT_FRAME_TAG, type RootFrame } from './tree-file.js';
import type { TreeFiles } from './tree-files.js';

const SCAN_BYTES = 1024 * 1024;

export interface FoundRoot extends RootPlace {
  readonly frame: RootFrame;
}

export interface FoundRoots {
  readonly newest: FoundRoot | undefined;
  /** Set where the newest file ends in a whole root frame: folds may go on there. */
  readonly tail: { readonly file: number; readonly end: number } | undefined;
  readonly findings: Finding[];
}

export function findRoots(files: TreeFiles): FoundRoots {
  const findings: Finding[] = [];
  const { numbers } = files;
  for (let i = numbers.length - 1; i >= 0; i--) {
    const file = numbers[i]!;
    try {
      const end = files.file(file).size();
      const last = rootAt(files, file, end - ROOT_FRAME_BYTES);
      if (last !== undefined) return { newest: last, tail: i === numbers.length - 1 ? { file, end } : undefined, findings };
      const newest = rootBefore(files, file, end);
      const whole = newest === undefined ? FILE_HEADER_BYTES : newest.offset + ROOT_FRAME_BYTES;
      if (end > whole) findings.push(finding('torn-tail', files.path(file), whole, 'nodes of a fold that was not finished'));
      if (newest !== undefined) return { newest, tail: undefined, findings };
    } catch (error) {
      if (!isVarveError(error, 'CORRUPT')) throw error;
      findings.push(finding('damaged', error.details.file, error.details.offset, error.details.what));
    }
  }
  return { newest: undefined, tail: undefined, findings };
}

/** The root frames from the newest back, `limit` of them at most. A broken link is mended by a search. */
export function rootsFrom(files: TreeFiles, newest: FoundRoot | undefined, limit: number): FoundRoot[] {
  const found: FoundRoot[] = [];
  for (let root = newest; root !== undefined && found.length < limit; root = found.length < limit ? rootPreceding(files, root) : undefined)
    found.push(root);
  return found;
}

function rootPreceding(files: TreeFiles, root: FoundRoot): FoundRoot | undefined {
  const { previousFile, previousOffset } = root.frame;
  if (previousFile === 0) return undefined;
  const linked = readable(() => rootAt(files, previousFile, previousOffset));
  if (linked !== undefined && isBefore(linked, root)) return linked;
  for (let i = files.numbers.length - 1; i >= 0; i--) {
    const file = files.numbers[i]!;
    if (file > root.file) continue;
    const before = readable(() => rootBefore(files, file, file === root.file ? root.offset : files.file(file).size()));
    if (before !== undefined) return before;
  }
  return undefined;
}

function isBefore(a: RootPlace, b: RootPlace): boolean {
  return a.file < b.file || (a.file === b.file && a.offset < b.offset);
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!isVarveError(error, 'CORRUPT')) throw error;
    return undefined;
  }
}

export function rootAt(files: TreeFiles, file: number, offset: number): FoundRoot | undefined {
  if (offset < FILE_HEADER_BYTES) return undefined;
  const bytes = files.read(file, offset, ROOT_FRAME_BYTES);
  const frame = bytes === undefined ? undefined : decodeRootFrame(bytes, files.seed(file), offset);
  return frame === undefined ? undefined : { file, offset, frame };
}

/** The last whole root frame that ends at or before `end`. */
function rootBefore(files: TreeFiles, file: number, end: number): FoundRoot | undefined {
  // Windows overlap by a frame less one byte, so that none is cut in two.
  for (let top = end; top - FILE_HEADER_BYTES >= ROOT_FRAME_BYTES; ) {
    const start = Math.max(FILE_HEADER_BYTES, top - SCAN_BYTES);
    const window = files.read(file, start, top - start);
    if (window === undefined) return undefined;
    for (let at = top - start - ROOT_FRAME_BYTES; at >= 0; at--) {
      at = window.lastIndexOf(ROOT_FRAME_TAG, at);
      if (at < 0) break;
      const frame = decodeRootFrame(window.subarray(at, at + ROOT_FRAME_BYTES), files.seed(file), start + at);
      if (frame !== undefined) return { file, offset: start + at, frame };
    }
    if (start === FILE_HEADER_BYTES) return undefined;
    top = start + ROOT_FRAME_BYTES - 1;
  }
  return undefined;
}

function finding(kind: Finding['kind'], file: string, offset: number, detail: string): Finding {
  return { kind, file, offset, fromSeq: 0, toSeq: 0, detail };
}
