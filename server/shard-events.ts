/**
 * What happens to shards, as lines of log: one stops taking writes or takes them again, part of one is damaged, a fold or a compaction fails. The engine
 * logs nothing itself; its state is looked at now and then, so what comes and goes between two looks is told by its count alone.
 */
import type { Database, ShardInfo } from '../engine/index.js';
import type { Logger } from './logging.js';

interface Seen {
  readonly state: ShardInfo['state'];
  /** Why its last fold failed. */
  readonly folding: string | undefined;
  readonly commitFailures: number;
}

const BEGINNING: Seen = { state: 'open', folding: undefined, commitFailures: 0 };

export class ShardEvents {
  readonly #logger: Logger;
  readonly #seen = new Map<number, Seen>();
  #upkeepFailure: string | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  look(db: Database): void {
    const stats = db.stats().shards;
    db.shards().forEach((info, index) => {
      const before = this.#seen.get(info.shard) ?? BEGINNING;
      const commitFailures = stats[index]?.commitFailures ?? 0;
      // One that waits for its owner to be found out is told of by who looks for it.
      const isWaiting = info.state === 'read-only' && db.replica(info.shard).role === 'fenced';
      const now = {
        state: isWaiting ? ('open' as const) : info.state,
        folding: info.state === 'open' ? info.reason : undefined,
        commitFailures,
      };
      this.#tell(info, before, now);
      this.#seen.set(info.shard, now);
    });
    const reason = db.upkeepFailure;
    if (reason !== undefined && reason !== this.#upkeepFailure) this.#logger.warn({ reason }, 'giving space back failed');
    if (reason === undefined && this.#upkeepFailure !== undefined) this.#logger.info('space is given back again');
    this.#upkeepFailure = reason;
  }

  #tell({ shard, reason }: ShardInfo, before: Seen, now: Seen): void {
    if (now.state !== before.state) {
      if (now.state === 'damaged') this.#logger.error({ shard, reason }, 'a shard is damaged and takes no writes');
      else if (now.state === 'read-only') this.#logger.error({ shard, reason }, 'a shard takes no writes');
      else this.#logger.info({ shard }, 'a shard takes writes again');
    } else if (now.commitFailures > before.commitFailures && now.state === 'open') {
      this.#logger.warn({ shard, failures: now.commitFailures - before.commitFailures }, 'writes failed; the shard has recovered');
    }
    if (now.folding !== undefined && before.folding === undefined) this.#logger.warn({ shard, reason: now.folding }, 'a fold failed');
    if (now.folding === undefined && before.folding !== undefined) this.#logger.info({ shard }, 'folding works again');
  }
}
