/**
 * Counts the operations of a simulated disk and decides which of them go wrong.
 *
 * Every operation gets the next index, from 0. A fault is planned for an index, or for the operations a
 * predicate picks; a planned power cut makes that operation and all later ones fail without effect.
 */

export type OperationKind =
  | 'open'
  | 'create'
  | 'read'
  | 'readFile'
  | 'list'
  | 'write'
  | 'sync'
  | 'truncate'
  | 'makeDirectory'
  | 'rename'
  | 'remove'
  | 'syncDirectory'
  | 'lock'
  | 'openSqlite';

export interface Operation {
  readonly index: number;
  readonly kind: OperationKind;
  readonly path: string;
  /** Where in the file, for reads, writes and truncations. */
  readonly position: number;
  /** How many bytes, for reads and writes. */
  readonly length: number;
}

export type Fault =
  /** Throws an error with this code, having done nothing. On `sync` and `syncDirectory`, the same as `failed-sync`. */
  | { readonly kind: 'error'; readonly code: string }
  /** A write or read ends after this many bytes and reports it, without an error. */
  | { readonly kind: 'short'; readonly bytes: number }
  /**
   * The sync rejects (EIO unless told otherwise) and its bytes count as clean from then on: reads still see them,
   * no later sync makes them durable. A crash loses them (`keeps: 'none'`, the default) or keeps any of them (`'some'`).
   */
  | { readonly kind: 'failed-sync'; readonly code?: string; readonly keeps?: 'none' | 'some' };

/** How a dead process's operations end: with a `PowerCutError`, or (those that return a promise) never. */
export type EndMode = 'throw' | 'hang';

/** What a disk without power throws. */
export class PowerCutError extends Error {
  override readonly name = 'PowerCutError';
  readonly code = 'POWER_CUT';

  constructor() {
    super('the simulated machine has no power');
  }
}

interface Plan {
  readonly picks: (operation: Operation) => boolean;
  readonly fault: Fault;
  skip: number;
  left: number;
}

export interface PlanOptions {
  /** How many picked operations pass unharmed first. */
  skip?: number;
  /** How many then fail; Infinity until `clear`. */
  times?: number;
}

/** Changes what is on the disk, or makes it durable: the operations between which a crash can tell a difference. */
export function isMutation(operation: Operation): boolean {
  return MUTATIONS.has(operation.kind);
}

const MUTATIONS: ReadonlySet<OperationKind> = new Set([
  'create',
  'write',
  'sync',
  'truncate',
  'makeDirectory',
  'rename',
  'remove',
  'syncDirectory',
]);

export class FaultInjector {
  /** Operations so far; the next one gets this index. */
  count = 0;
  /** All operations since the start, if asked for. */
  readonly trace: Operation[] = [];
  readonly #tracing: boolean;
  readonly #plans: Plan[] = [];
  #endIndex = Infinity;
  #endMode: EndMode = 'throw';
  #ended = false;
  readonly #onEnd: (mode: EndMode) => void;

  constructor(tracing: boolean, onEnd: (mode: EndMode) => void) {
    this.#tracing = tracing;
    this.#onEnd = onEnd;
  }

  /** The power has gone. */
  get ended(): boolean {
    return this.#ended;
  }

  get endMode(): EndMode {
    return this.#endMode;
  }

  failWhen(picks: (operation: Operation) => boolean, fault: Fault, options: PlanOptions = {}): void {
    this.#plans.push({ picks, fault, skip: options.skip ?? 0, left: options.times ?? 1 });
  }

  clear(): void {
    this.#plans.length = 0;
  }

  endAt(index: number, mode: EndMode): void {
    this.#endIndex = index;
    this.#endMode = mode;
    if (index <= this.count) this.end(mode);
  }

  end(mode: EndMode): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#endMode = mode;
    this.#onEnd(mode);
  }

  /** Counts an operation and says what goes wrong with it. Throws PowerCutError at and after the end. */
  next(kind: OperationKind, path: string, position = 0, length = 0): Fault | undefined {
    if (this.count >= this.#endIndex) this.end(this.#endMode);
    if (this.#ended) throw new PowerCutError();
    const index = this.count++;
    if (!this.#tracing && this.#plans.length === 0) return undefined;
    const operation: Operation = { index, kind, path, position, length };
    if (this.#tracing) this.trace.push(operation);
    for (const plan of this.#plans) {
      if (plan.left === 0 || !plan.picks(operation)) continue;
      if (plan.skip > 0) {
        plan.skip--;
        continue;
      }
      plan.left--;
      return plan.fault;
    }
    return undefined;
  }
}
