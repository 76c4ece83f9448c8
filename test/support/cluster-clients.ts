/**
 * What a simulated replica set is asked for: writes by its clients; retention, erasure, snapshots, compaction and promotion by those who run it.
 *
 * Nothing here waits for an answer: it comes while other things happen, or never. What was promised goes into the ledger; what is written for an earlier
 * life of a process counts for nothing.
 */
import { isVarveError, VarveError } from '../../engine/index.js';
import type { RecordHeader } from '../../engine/types.js';
import { PromotionRefused } from '../../replication/index.js';
import { isOfDisk } from './cluster-disks.js';
import type { Attempt } from './cluster-ledger.js';
import type { Member, Running } from './cluster-member.js';
import type { Random } from './random.js';
import type { SimCluster } from './sim-cluster.js';

/** Everything of this one stays, for the ledger; the other's history is trimmed. */
const KEPT = 'kept';
const TRIMMED = 'trimmed';
/** Of this one the bodies go. */
const ERASED = 'erased';

export class ClusterClients {
  /** Bodies that a quorum knows to be erased. */
  readonly erased: string[] = [];
  readonly #cluster: SimCluster;
  readonly #random: Random;
  readonly #members: readonly Member[];
  readonly #secrets: { readonly key: string; readonly body: string }[] = [];

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    this.#random = cluster.random;
    this.#members = cluster.members;
  }

  write(asked?: readonly Member[]): void {
    for (let n = 1 + this.#random.below(5); n > 0; n--) {
      const owners = asked ?? this.#cluster.owners(1 + this.#random.below(this.#cluster.options.shards));
      // Who owns nothing refuses; that is looked at less often.
      const member = this.#random.pick(owners.length > 0 && this.#random.chance(0.8) ? owners : this.#members);
      const { running } = member;
      if (running === undefined) continue;
      const collection = this.#random.chance(0.7) ? KEPT : TRIMMED;
      const key = `k${this.#random.below(collection === KEPT ? 40 : 3)}`;
      const attempt = this.#cluster.ledger.begin();
      const wantsQuorum = this.#random.chance(0.5);
      void this.#insert(member, running, collection, key, attempt, wantsQuorum).catch((error: unknown) => {
        this.#cluster.fail(error);
      });
    }
  }

  async #insert(
    member: Member,
    { db, replicator }: Running,
    collection: string,
    key: string,
    attempt: Attempt,
    wantsQuorum: boolean,
  ): Promise<void> {
    const { life } = member;
    let header: RecordHeader;
    try {
      header = await db.put(collection, key, attempt.content);
    } catch (error) {
      if (member.life !== life) return;
      if (isVarveError(error, 'OUTCOME_UNKNOWN') || isVarveError(error, 'UNAVAILABLE')) this.#cluster.ledger.answered(attempt, 'unknown');
      else if (isVarveError(error, 'NOT_OWNER') || isVarveError(error, 'NOT_WRITTEN') || isVarveError(error, 'CLOSED'))
        this.#cluster.ledger.answered(attempt, 'refused');
      else if (member.hurt && error instanceof VarveError) this.#cluster.ledger.answered(attempt, 'unknown');
      else throw error;
      return;
    }
    if (member.life !== life) return;
    this.#cluster.stats.written++;
    // What retention may drop was promised to nobody.
    this.#cluster.ledger.answered(attempt, collection === KEPT ? 'local' : 'unknown', header.id);
    if (!wantsQuorum || !(await replicator.whenQuorum(header.shard, header.seq)) || member.life !== life) return;
    this.#cluster.stats.safe++;
    if (collection === KEPT) this.#cluster.ledger.answered(attempt, 'quorum', header.id);
  }

  retain(): void {
    const owner = this.#members.find(({ running }) => running?.db.replica(1).role === 'owner');
    const retention = this.#random.pick([{ keep: 'all' }, { keep: 'last', versions: 1 + this.#random.below(3) }]);
    owner?.running?.db.setRetention(TRIMMED, retention).catch((error: unknown) => this.#asked(owner, error));
  }

  /** A secret or two, and then they are to be forgotten. */
  erase(): void {
    const key = `e${this.#random.below(3)}`;
    const shard = this.#members.find(({ running }) => running !== undefined)?.running?.db.shardOf(ERASED, key);
    const [owner] = shard === undefined ? [] : this.#cluster.owners(shard);
    const body = `secret ${this.#random.uint32()}${this.#random.uint32()}`;
    if (shard === undefined || owner === undefined) return;
    this.#forget(owner, shard, key, body).catch((error: unknown) => this.#asked(owner, error));
  }

  async #forget(owner: Member, shard: number, key: string, body: string): Promise<void> {
    const { db, replicator } = owner.running!;
    await db.put(ERASED, key, body);
    this.#secrets.push({ key, body });
    const known = this.#secrets.filter((secret) => secret.key === key);
    await db.erase({ collection: ERASED, key, reason: 'asked to' });
    const { durableSeq } = db.replica(shard);
    if (await replicator.whenQuorum(shard, durableSeq)) this.erased.push(...known.map((secret) => secret.body));
  }

  snapshot(): void {
    const [owner] = this.#cluster.owners(1);
    const { db } = owner?.running ?? {};
    if (owner === undefined || db === undefined) return;
    this.#cluster.stats.snapshots++;
    const name = `s${this.#random.below(4)}`;
    const made = this.#random.chance(0.6) ? db.createSnapshot(name, db.newestTime() ?? '') : db.deleteSnapshot(name);
    made.catch((error: unknown) => this.#asked(owner, error));
  }

  compact(member: Member): void {
    try {
      member.running?.db.compact({ force: this.#random.chance(0.5) });
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
    }
  }

  promote(member: Member, shard: number): void {
    const { life, running } = member;
    if (running === undefined || running.db.replica(shard).role === 'owner') return;
    running.promote(shard).then(
      () => void (this.#cluster.stats.promotions += Number(member.life === life)),
      (error: unknown) => {
        if (member.life !== life) return;
        if (error instanceof PromotionRefused) this.#cluster.stats.refusedPromotions++;
        else this.#asked(member, error);
      },
    );
  }

  /** What a person's request may fail with. */
  #asked(member: Member, error: unknown): void {
    if (error instanceof VarveError || error instanceof PromotionRefused || (member.sick && isOfDisk(error))) return;
    this.#cluster.fail(error);
  }
}
