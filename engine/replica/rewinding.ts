/**
 * A rewind of an open shard: nothing is taken or answered meanwhile, and everything that rests on the log is read from it again.
 *
 * Invariant: once it has begun (rewind.ts) the shard answers nothing before it is done; where the disk cuts it short, whoever asks again,
 * or the next open, finishes it. What a crash does is told in rewind.ts.
 */
import { VarveError } from '../errors.js';
import type { SetAside } from '../replica.js';
import { shardDirectory } from '../shard-contents.js';
import type { ReplicaParts } from './replica-shard.js';
import { beginRewind, finishRewind, setAside } from './rewind.js';

export interface RewindingHooks {
  /** Waits for whatever may be on its way into the log or the tree. */
  settled(): Promise<void>;
  /** What may be answered has changed. */
  changed(): void;
}

export class Rewinding {
  readonly #parts: ReplicaParts;
  readonly #hooks: RewindingHooks;
  #isUnderWay = false;
  /** Begun, and not done. */
  #begun: { readonly seq: number; readonly aside: SetAside | undefined } | undefined;

  constructor(parts: ReplicaParts, hooks: RewindingHooks) {
    this.#parts = parts;
    this.#hooks = hooks;
  }

  /** Why nothing can be taken or answered, or undefined. */
  get reason(): string | undefined {
    if (this.#isUnderWay) return 'its log is being rewound';
    return this.isCutShort ? 'a rewind of its log was cut short by the disk' : undefined;
  }

  get isCutShort(): boolean {
    return this.#begun !== undefined && !this.#isUnderWay;
  }

  /** Undefined where there is nothing beyond `seq`. Not while the shard takes writes. */
  async rewind(seq: number): Promise<SetAside | undefined> {
    const { id } = this.#parts.shard;
    if (this.#isUnderWay) throw new VarveError('UNAVAILABLE', `shard ${id}: ${this.reason}`, { shard: id, reason: 'being rewound' });
    this.#isUnderWay = true;
    this.#hooks.changed();
    try {
      await this.#hooks.settled();
      if (this.#begun === undefined) {
        const { log } = this.#parts.contents;
        if (seq >= log.durableSeq) return undefined;
        const directory = shardDirectory(id);
        const aside = await setAside(log, directory, seq);
        await beginRewind(log, directory, seq);
        this.#begun = { seq, aside };
      }
      const { aside } = this.#begun;
      await this.#finish(this.#begun.seq);
      this.#begun = undefined;
      return aside;
    } finally {
      this.#isUnderWay = false;
      this.#hooks.changed();
    }
  }

  async #finish(seq: number): Promise<void> {
    const { contents, options, recovery, folder, shard } = this.#parts;
    await recovery.settled();
    await folder.betweenFolds(async () => {
      const work = async () => void (await finishRewind(options.platform, shardDirectory(shard.id)));
      await contents.log.replaceFiles(seq, work);
      options.catalog.replaceCheckpoints(shard.id, []);
      await contents.loadAgain();
    });
    await shard.upkeep.rewound(seq);
  }
}
