/**
 * Puts a rewritten segment in the place of those it was made from.
 *
 *   rename to its own name -> sync the directory -> readers see it -> old files removed -> sync the directory
 *
 * Invariants: at every moment, on disk and in memory, either the sources stand or the target does. A crash before the rename leaves
 * a `.tmp`, one after it both: opening takes the higher generation and removes what it replaces.
 */
import { TEMPORARY_SUFFIX } from '../format/segment.js';
import type { LogContext } from '../log/context.js';
import type { SegmentSet } from '../log/segment-set.js';
import type { Segment } from '../log/segment-state.js';

export interface SwapLog {
  readonly context: LogContext;
  readonly segmentSet: SegmentSet;
  readonly incarnation: number;
  segmentsReplaced(): void;
}

/** False where the log was opened anew meanwhile: it has seen for itself which files count. */
export async function swapSegments(log: SwapLog, sources: readonly Segment[], target: Segment): Promise<boolean> {
  const { context, incarnation } = log;
  const { files } = context.platform;
  files.rename(target.path + TEMPORARY_SUFFIX, target.path);
  await files.syncDirectory(context.directory);
  if (log.incarnation !== incarnation) return false;
  log.segmentSet.replace(sources, target);
  log.segmentsReplaced();
  for (const source of sources) {
    context.cache.forget(source);
    context.pool.retire(source);
    files.remove(source.path);
  }
  await files.syncDirectory(context.directory);
  return true;
}
