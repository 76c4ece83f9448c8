/** What happens to the disks of a simulated replica set: bits rot, writes find no room, syncs fail for a while. */
import { parseSegmentName } from '../../engine/format/segment.js';
import { shardDirectory } from '../../engine/shard-contents.js';
import type { Member } from './cluster-member.js';
import type { Random } from './random.js';

/**
 * Flips a bit of any file that tells nothing that the other copies have not; the file. What only one copy has is lost with its disk, and the end of
 * a log that was torn looks as one that has rotted: neither is looked for here.
 */
export function rot(member: Member, all: readonly Member[], shards: readonly number[], random: Random): string | undefined {
  const { platform } = member;
  const spared = new Set<string>();
  for (const shard of shards) {
    const log = `${shardDirectory(shard)}/log`;
    const replicas = all.map(({ running }) => running!.db.replica(shard));
    const isOneEpoch = new Set(replicas.map(({ epoch }) => epoch)).size === 1;
    const everywhere = isOneEpoch ? Math.min(...replicas.map(({ durableSeq }) => durableSeq)) : 0;
    const bases = platform.files.list(log).map((name) => parseSegmentName(name)?.base ?? 0);
    for (const name of platform.files.list(log)) {
      const base = parseSegmentName(name)?.base;
      const next = base === undefined ? undefined : bases.filter((each) => each > base).sort((a, b) => a - b)[0];
      if (next === undefined || next > everywhere) spared.add(`${log}/${name}`);
    }
  }
  const files = platform.fileList().filter(({ path, size }) => size > 0 && !spared.has(path) && !path.includes('/aside/'));
  if (files.length === 0) return undefined;
  const logs = files.filter(({ path }) => path.includes('/log/'));
  const { path, size } = random.pick(logs.length > 0 && random.chance(0.6) ? logs : files);
  platform.flipBit(path, random.below(size * 8));
  return path;
}

/** From now on some of what the disk is asked for fails; `clearFaults` ends it. */
export function sicken({ platform }: Member, random: Random): void {
  const times = 1 + random.below(6);
  const skip = random.below(10);
  const what = random.below(3);
  if (what === 0) platform.failOn(['write', 'create', 'makeDirectory'], { kind: 'error', code: 'ENOSPC' }, { times: times * 4, skip });
  else if (what === 1) platform.failOn(['write'], { kind: 'short', bytes: random.below(100) }, { times, skip });
  else {
    const keeps = random.pick(['none', 'some'] as const);
    platform.failOn(['sync', 'syncDirectory'], { kind: 'failed-sync', keeps }, { times, skip });
  }
}

/** What a disk that is sick says. */
export function isOfDisk(error: unknown): boolean {
  const code = (error as { readonly code?: unknown }).code;
  return code === 'ENOSPC' || code === 'EIO';
}
