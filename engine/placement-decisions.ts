/**
 * Where a collection lives is decided once, for the whole database (law 7): logged in every shard, or undone.
 *
 *   decide -> wait for what is queued -> no records? -> log it, shard by shard -> in force
 *                                                          └─ one cannot ─> undo it in the others
 *
 * Invariant: records are only placed while every log agrees. Inserts of the collection wait for a decision under way; where a
 * failed one may still stand in some log, they try to undo it first, and fail if that cannot be. So a crash at any moment may
 * leave a decision in some of the logs only while the collection has no records: opening completes it.
 */
import type { BatchLimits } from './batch.js';
import { isVarveError, messageOf, VarveError } from './errors.js';
import { COLLECTIONS, type Placements } from './placements.js';
import type { Shard } from './shard.js';
import { forgetSystemEntity, logSystemItems, systemEntities } from './system-records.js';

export interface PlacementDecisionsOptions {
  readonly shards: readonly Shard[];
  readonly placements: Placements;
  readonly limits: BatchLimits;
  /** Versions of the collection that are visible, over all shards. */
  versions(collection: string): Promise<number>;
}

export class PlacementDecisions {
  readonly #options: PlacementDecisionsOptions;
  /** Collections about which something is being logged. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  /** Collections with a failed decision, and the shards whose logs may hold it. */
  readonly #undone = new Map<string, Set<Shard>>();

  constructor(options: PlacementDecisionsOptions) {
    this.#options = options;
  }

  /** What an insert into these collections has to wait for, or undefined: ask again after it. Rejects where they take none. */
  pending(items: readonly { readonly collection: string }[]): Promise<unknown> | undefined {
    if (this.#underWay.size === 0 && this.#undone.size === 0) return undefined;
    for (const { collection } of items) {
      const underWay = this.#underWay.get(collection);
      if (underWay !== undefined) return underWay.catch(() => undefined);
      if (this.#undone.has(collection)) return this.#inTurn(collection, () => this.#undo(collection));
    }
    return undefined;
  }

  /** Throws PLACEMENT_FIXED, or what the logs say; then nothing has changed. */
  decide(collection: string, placement: string): Promise<void> {
    return this.#inTurn(collection, () => this.#decide(collection, placement));
  }

  async #inTurn(collection: string, work: () => Promise<void>): Promise<void> {
    const before = this.#underWay.get(collection) ?? Promise.resolve();
    const turn = before.catch(() => undefined).then(work);
    this.#underWay.set(collection, turn);
    try {
      await turn;
    } finally {
      if (this.#underWay.get(collection) === turn) this.#underWay.delete(collection);
    }
  }

  async #decide(collection: string, placement: string): Promise<void> {
    const { shards, placements } = this.#options;
    const current = placements.of(collection);
    const isSame = current === placement && !this.#undone.has(collection);
    if (isSame && placements.has(collection)) return;
    await Promise.all(shards.map((shard) => shard.queuedSettled()));
    if ((await this.#options.versions(collection)) > 0) {
      if (isSame) return;
      throw new VarveError('PLACEMENT_FIXED', `collection '${collection}' has records, so its placement stays '${current}'`, {
        collection,
        placement: current,
      });
    }
    const mayHoldIt = this.#undone.get(collection) ?? new Set();
    try {
      for (const shard of shards) {
        await this.#log(shard, collection, placement).catch((error: unknown) => {
          if (!isVarveError(error, 'NOT_WRITTEN')) mayHoldIt.add(shard);
          throw error;
        });
        mayHoldIt.add(shard);
      }
    } catch (error) {
      if (mayHoldIt.size > 0) this.#undone.set(collection, mayHoldIt);
      await this.#undo(collection).catch(() => undefined); // the next insert tries again
      throw error;
    }
    this.#undone.delete(collection);
    placements.set(collection, placement);
  }

  /** Logs what is in force in every shard that may have been told otherwise. Rejects where one cannot. */
  async #undo(collection: string): Promise<void> {
    const { placements } = this.#options;
    const shards = this.#undone.get(collection) ?? new Set();
    const results = await Promise.allSettled(
      [...shards].map(async (shard) => {
        if (placements.has(collection)) await this.#log(shard, collection, placements.of(collection));
        else await this.#forget(shard, collection);
        shards.delete(shard);
      }),
    );
    const failed = results.find((result) => result.status === 'rejected');
    if (failed === undefined) this.#undone.delete(collection);
    else throw stillUndecided(collection, failed.reason);
  }

  /** Opening: reads what every shard says, and completes what a crash left in only some of them. */
  async load(): Promise<void> {
    const { placements, shards } = this.#options;
    const said = await Promise.all(shards.map((shard) => (shard.tells ? shard.healing(() => placementsIn(shard)) : undefined)));
    // What another node undid is not said any more.
    if (this.#underWay.size === 0 && this.#undone.size === 0 && said.every((each) => each !== undefined)) placements.clear();
    for (const each of said) for (const [collection, placement] of each ?? []) placements.set(collection, placement);
    for (const [i, each] of said.entries()) {
      if (each === undefined || shards[i]?.replica.takesWrites !== true) continue;
      for (const collection of placements.names()) {
        const placement = placements.of(collection);
        if (each.get(collection) !== placement) await this.#log(shards[i] as Shard, collection, placement);
      }
    }
  }

  #log(shard: Shard, collection: string, placement: string): Promise<void> {
    return logSystemItems(shard, [{ collection: COLLECTIONS, key: collection, body: { placement } }], this.#options.limits);
  }

  #forget(shard: Shard, collection: string): Promise<void> {
    return forgetSystemEntity(shard, COLLECTIONS, collection, this.#options.limits);
  }
}

function placementsIn(shard: Shard): Map<string, string> {
  return new Map([...systemEntities(shard, COLLECTIONS)].map(([name, body]) => [name, (body as { placement: string }).placement]));
}

function stillUndecided(collection: string, cause: unknown): VarveError {
  const shard = isVarveError(cause, 'NOT_WRITTEN') || isVarveError(cause, 'OUTCOME_UNKNOWN') ? cause.details.shard : 0;
  const reason = `a failed change of where '${collection}' lives could not be undone yet: ${messageOf(cause)}`;
  return new VarveError('NOT_WRITTEN', `nothing was written: ${reason}`, { shard, reason }, cause);
}
