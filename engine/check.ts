/**
 * The offline check: everything in a data directory read, its checksums and hashes verified, every shard's tree
 * built again from the log alone, and roots compared. Takes the lock and changes nothing else: recovery, where a crash
 * calls for it, runs in memory (check-overlay.ts), and the tree is built in a scratch directory.
 *
 * `damage` is anything that is not as it should be, derived data included; a `note` is what a crash may leave and the
 * next open tidies.
 */

import { overlayPlatform } from './check-overlay.js';
import { checkShard, type ShardReport } from './check-shard.js';
import { readChecked } from './checked-file.js';
import { isVarveError, VarveError } from './errors.js';
import { readIdentity } from './identity.js';
import type { Finding } from './log/types.js';
import { nodePlatform } from './platform/node.js';
import type { Platform } from './platform/platform.js';
import { PROMISE_FILE } from './replica/promise-file.js';
import { REWIND_FILE } from './replica/rewind.js';
import { shardDirectory } from './shard-contents.js';
import { SPOKEN_FILE } from './spoken-time.js';

export type { ShardReport } from './check-shard.js';

export interface CheckFinding extends Finding {
  readonly severity: 'damage' | 'note';
}

export interface CheckReport {
  readonly databaseId: string;
  readonly nodeId: string;
  readonly shards: readonly ShardReport[];
  readonly findings: readonly CheckFinding[];
  /** No damage. */
  readonly sound: boolean;
}

export interface CheckOptions {
  readonly finding?: (finding: CheckFinding) => void;
  /** Bytes to read, of all shards. */
  readonly progress?: (done: number, total: number) => void;
}

const LOCK_FILE = 'lock.sqlite';
/** What a copy promised and said: a damaged one keeps the database from opening. */
const SAID = [PROMISE_FILE, REWIND_FILE, SPOKEN_FILE];
const KNOWN = /^(?:node\.json|shards|(?:lock|catalog)\.sqlite(?:-journal|-wal|-shm)?)$/;

/** `scratch` is a directory that may be written to and thrown away. Throws LOCKED while the database is open elsewhere. */
export function checkDirectory(directory: string, scratch: string, options: CheckOptions = {}): Promise<CheckReport> {
  return checkDatabase(nodePlatform(directory), nodePlatform(scratch), options);
}

export async function checkDatabase(platform: Platform, scratch: Platform, options: CheckOptions = {}): Promise<CheckReport> {
  const { files } = platform;
  const findings: CheckFinding[] = [];
  const report = (finding: CheckFinding): void => {
    const known = findings.some(
      (other) =>
        other.file === finding.file &&
        other.offset === finding.offset &&
        other.fromSeq === finding.fromSeq &&
        other.detail === finding.detail,
    );
    if (known) return;
    findings.push(finding);
    options.finding?.(finding);
  };
  // Locking a file that is not there would make one.
  const lock = files.exists(LOCK_FILE) ? files.lock(LOCK_FILE) : undefined;
  try {
    const identity = readIdentity(platform);
    if (identity === undefined) {
      const expected = 'a data directory with a node.json';
      throw new VarveError('INCOMPATIBLE', 'this is no data directory: it has no node.json', { expected, found: 'none' });
    }
    for (const name of files.list('')) {
      if (!KNOWN.test(name))
        report({ severity: 'note', kind: 'stray', file: name, offset: 0, fromSeq: 0, toSeq: 0, detail: 'not a file of the database' });
    }
    const shards: ShardReport[] = [];
    const databaseId = Buffer.from(identity.database, 'hex');
    const overlay = overlayPlatform(platform);
    for (let shard = 1; shard <= identity.shards; shard++) {
      const directory = shardDirectory(shard);
      if (!files.exists(`${directory}/log`)) {
        report({ severity: 'damage', kind: 'missing', file: directory, offset: 0, fromSeq: 0, toSeq: 0, detail: 'the shard has no log' });
        continue;
      }
      for (const name of SAID) {
        try {
          readChecked(platform, `${directory}/${name}`);
        } catch (error) {
          if (!isVarveError(error, 'CORRUPT')) throw error;
          const { file, offset, what } = error.details;
          report({ severity: 'damage', kind: 'damaged', file, offset, fromSeq: 0, toSeq: 0, detail: what });
        }
      }
      const progress = (done: number, total: number): void => options.progress?.(shard - 1 + done / Math.max(1, total), identity.shards);
      shards.push(await checkShard({ platform: overlay, scratch, shard, directory, databaseId, report, progress }));
    }
    return {
      databaseId: identity.database,
      nodeId: identity.node,
      shards,
      findings,
      sound: findings.every(({ severity }) => severity === 'note'),
    };
  } finally {
    lock?.release();
  }
}
