/**
 * What rewinds set aside, when an erasure covers some of it: each such file is written anew without the bodies, read back, and swapped.
 *
 * Invariants: a body that an erasure covers does not survive in a file set aside; nothing else of it is lost. A crash leaves the old
 * file or the new one, or both, and a `.tmp`: the next erasure goes over them again, and what is superseded goes.
 */
import { type ErasedEntity, runTask } from '../compaction/task.js';
import { parseSegmentName, TEMPORARY_SUFFIX } from '../format/segment.js';
import type { Platform } from '../platform/platform.js';

export interface AsideFiles {
  readonly platform: Platform;
  /** `shards/0001/aside` */
  readonly directory: string;
  readonly shard: number;
  readonly databaseId: Uint8Array;
}

export function hasAside({ platform, directory }: AsideFiles): boolean {
  return platform.files.exists(directory) && platform.files.list(directory).length > 0;
}

/** Throws CORRUPT where a file cannot be read whole: nobody can say then that it holds nothing. */
export async function eraseAside(
  aside: AsideFiles,
  erased: readonly ErasedEntity[],
  pace: (bytes: number) => Promise<void>,
): Promise<void> {
  if (!hasAside(aside)) return;
  const { platform, directory, shard, databaseId } = aside;
  const { files } = platform;
  const fixed = { directory, shard, databaseId, drops: new Map<number, Uint8Array>(), compactedThrough: 0, compress: false };
  for (const name of files.list(directory)) {
    if (name.endsWith(TEMPORARY_SUFFIX)) files.remove(`${directory}/${name}`);
    else if (parseSegmentName(name) !== undefined) {
      const made = await runTask(platform, { ...fixed, sources: [name], erased }, pace);
      const temporary = `${directory}/${made.name}${TEMPORARY_SUFFIX}`;
      if (made.recordsErased === 0) {
        files.remove(temporary);
        continue;
      }
      files.rename(temporary, `${directory}/${made.name}`);
      await files.syncDirectory(directory);
      files.remove(`${directory}/${name}`);
      await files.syncDirectory(directory);
    }
  }
}
