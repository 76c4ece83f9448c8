/**
 * Group commit of one shard: batches gather in one group while the group before is on its way to the disk.
 *
 *   add -> gathering group -> (one frame, one write, one fdatasync) -> onDurable -> promises resolve
 *
 * Invariants: groups reach the log in the order they were gathered; one is in flight at a time; nothing is
 * reported durable before its sync. When a group fails, it and everything queued behind it fail, and the
 * queue takes nothing until `reset` (the shard has reopened its log).
 */
import { messageOf, VarveError } from './errors.js';
import { FlightWatch } from './flight-watch.js';
import type { GroupBuilder } from './log/index.js';

/** Groups are closed at this size, so that a frame stays small beside a segment; one larger batch is a group of its own. */
const GROUP_BYTES = 4 * 1024 * 1024;
/** What may wait before `add` answers OVERLOADED. */
const QUEUE_BYTES = 128 * 1024 * 1024;

/** Promises between an answer and the next insert of whoever was waiting for it, with some to spare. */
const ANSWER_HOPS = 10;

/** What waits on a group: told once, in order. */
export interface Waiter {
  committed(): void;
  failed(error: VarveError): void;
}

export class Group {
  readonly builder: GroupBuilder;
  readonly waiters: Waiter[] = [];
  /** Time of the oldest batch inside, for reads as of a time; Infinity while there is none. */
  firstTime = Number.POSITIVE_INFINITY;
  /** Of the newest batch inside. */
  lastSeq = 0;
  batches = 0;
  /** Encoded so far; counts against the queue's limit. */
  queuedBytes = 0;
  /** Resolves when the group is durable; rejects with what its waiters were told. */
  readonly settled: Promise<void>;
  resolve!: () => void;
  reject!: (error: VarveError) => void;

  constructor(builder: GroupBuilder) {
    this.builder = builder;
    this.settled = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // A group nobody waits for may fail unheard: its waiters are told apart from this promise.
    this.settled.catch(() => undefined);
  }
}

export interface CommitQueueHooks {
  newBuilder(): GroupBuilder;
  /** Resolves in the next turn of the event loop. */
  nextTurn(): Promise<void>;
  /** Before each group: what it waits for, if anything. */
  ready(): Promise<void> | undefined;
  /** Writes and syncs; throws the errors to tell: one for this group, one for everything behind it. */
  commit(group: Group): Promise<void>;
  /** The same before it returns, where that is quicker; false, and nothing done, where it is not. */
  commitNow(group: Group): boolean;
  /** The queue has run dry. */
  idle(): void;
}

/** Thrown by `commit`: what to tell the failed group and those queued behind it. */
export class GroupFailure extends Error {
  constructor(
    readonly group: VarveError,
    readonly behind: VarveError,
  ) {
    super(group.message);
  }
}

export class CommitQueue {
  readonly #hooks: CommitQueueHooks;
  readonly #flights = new FlightWatch();
  readonly #capacityBytes: number;
  #groups: Group[] = [];
  #inFlight: Group | undefined;
  #running: Promise<void> | undefined;
  #broken: VarveError | undefined;
  #queuedBytes = 0;

  constructor(hooks: CommitQueueHooks, capacityBytes = QUEUE_BYTES) {
    this.#hooks = hooks;
    this.#capacityBytes = capacityBytes;
  }

  /** The group to encode the next batch into, another one where `mayJoin` says no. Throws where the queue is broken or full. */
  gathering(mayJoin: (group: Group) => boolean = isOwn): Group {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#queuedBytes > this.#capacityBytes) {
      throw new VarveError('OVERLOADED', 'too many bytes are waiting to be written', { retryAfterMs: 1000 });
    }
    const last = this.#groups.at(-1);
    if (last?.waiters.length === 0) {
      // Left by one that was refused after it had asked.
      last.builder.reset();
      return last;
    }
    if (last !== undefined && last.builder.bytes < GROUP_BYTES && mayJoin(last)) return last;
    const group = new Group(this.#hooks.newBuilder());
    this.#groups.push(group);
    return group;
  }

  /** Undefined while `gathering` has room; otherwise resolves when it may have some. Ask again then: others wait too. */
  room(): Promise<void> | undefined {
    if (this.#queuedBytes <= this.#capacityBytes || this.#broken !== undefined) return undefined;
    return (this.#inFlight ?? this.#groups[0])?.settled.catch(() => undefined);
  }

  /** Call after a batch, or several that wait together, was encoded into `group`. */
  added(group: Group, waiter: Waiter, time: number, batches = 1): void {
    group.waiters.push(waiter);
    group.batches += batches;
    group.firstTime = Math.min(group.firstTime, time);
    group.lastSeq = group.builder.lastSeq;
    this.#queuedBytes += group.builder.bytes - group.queuedBytes;
    group.queuedBytes = group.builder.bytes;
    this.#running ??= this.#run();
  }

  /** Groups not yet durable, oldest first. */
  get pending(): readonly Group[] {
    const gathered = this.#groups.filter((group) => group.waiters.length > 0);
    return this.#inFlight === undefined ? gathered : [this.#inFlight, ...gathered];
  }

  /** The group that a seq not yet durable waits in. */
  groupOf(seq: number): Group | undefined {
    return this.pending.find((group) => seq <= group.lastSeq);
  }

  /** Waits for the group on its way to the disk, whatever becomes of it. */
  async inFlightSettled(): Promise<void> {
    await this.#inFlight?.settled.catch(() => undefined);
  }

  get busy(): boolean {
    return this.#running !== undefined;
  }

  /** Waits until everything queued by now has been committed or has failed. */
  async drained(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Fails what is queued and refuses more, until `reset`. */
  break(error: VarveError): void {
    this.#broken = error;
    const groups = this.#groups;
    this.#groups = [];
    for (const group of groups) this.#queuedBytes -= group.queuedBytes;
    for (const group of groups) fail(group, error);
  }

  reset(): void {
    this.#broken = undefined;
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        // Everything inserted in this turn of the event loop joins the group, and who was answered in it may be back already. Where
        // nobody uses the time of a flight there is no one else to wait for than those just answered.
        if (this.#flights.isQuiet) for (let hop = 0; hop < ANSWER_HOPS; hop++) await undefined;
        else await this.#hooks.nextTurn();
        const group = this.#groups[0];
        if (group === undefined || group.waiters.length === 0) break;
        const wait = this.#hooks.ready();
        if (wait !== undefined) {
          await wait;
          if (this.#groups[0] !== group) continue; // broken meanwhile
        }
        this.#groups.shift();
        this.#inFlight = group;
        await this.#commit(group);
        this.#inFlight = undefined;
      }
    } finally {
      this.#inFlight = undefined;
      this.#running = undefined;
    }
    if (this.#broken === undefined) this.#hooks.idle();
  }

  async #commit(group: Group): Promise<void> {
    try {
      const blocks = this.#groups.length === 0 && this.#flights.mayBlock() && this.#hooks.commitNow(group);
      if (!blocks) {
        await this.#hooks.commit(group);
        this.#flights.landed(this.#groups.length > 0);
      }
    } catch (error) {
      const failure = error instanceof GroupFailure ? error : internal(error);
      this.#queuedBytes -= group.queuedBytes;
      fail(group, failure.group);
      this.break(failure.behind);
      return;
    }
    this.#queuedBytes -= group.queuedBytes;
    for (const waiter of group.waiters) waiter.committed();
    group.resolve();
  }
}

/** Not of another node's batches. */
function isOwn({ builder }: Group): boolean {
  return builder.origin === undefined;
}

function fail(group: Group, error: VarveError): void {
  for (const waiter of group.waiters) waiter.failed(error);
  group.reject(error);
}

/** A bug of ours on the way to the disk: nobody knows what was written. */
function internal(cause: unknown): GroupFailure {
  const reason = messageOf(cause);
  const error = new VarveError('OUTCOME_UNKNOWN', `the write failed unexpectedly: ${reason}`, { shard: 0, reason }, cause);
  return new GroupFailure(error, error);
}
