/**
 * Which entities of a shard were erased, and up to where: entities of `_erasures`, so that they are in the tree and every replica
 * knows them. From the moment one is logged no answer holds a body it covers; `done` is said once the files hold none either.
 */
import { blake3, hex } from '../format/hash.js';
import { entityKeyFromBytes } from '../format/keys.js';
import type { JsonValue } from '../types.js';

export const ERASURES = '_erasures';

export interface Erasure {
  readonly collection: string;
  readonly key: string;
  readonly reason: string;
  /** The event: bodies of versions before it go. */
  readonly seq: number;
  /** No file of this replica holds one any more. */
  readonly done: boolean;
}

/** Of `_erasures`: keys may be as long as keys can be, so the entity is named by its hash. */
export function erasureKey(entity: string): string {
  return hex(blake3(Buffer.from(entity, 'latin1')));
}

export function erasureBody({ collection, key, reason, seq, done }: Erasure): JsonValue {
  return { collection, key, reason, seq, done };
}

export class Erasures {
  /** By entity (latin1 string of its key bytes). */
  readonly #byEntity = new Map<string, Erasure>();

  get size(): number {
    return this.#byEntity.size;
  }

  get all(): readonly Erasure[] {
    return [...this.#byEntity.values()];
  }

  /** Not carried out yet. */
  get open(): readonly Erasure[] {
    return this.all.filter(({ done }) => !done);
  }

  set(entity: string, erasure: Erasure): void {
    this.#byEntity.set(entity, erasure);
  }

  /** Those logged beyond `seq`. */
  forgetBeyond(seq: number): void {
    for (const [entity, erasure] of this.#byEntity) if (erasure.seq > seq) this.#byEntity.delete(entity);
  }

  get(entity: string): Erasure | undefined {
    return this.#byEntity.get(entity);
  }

  /** Whether the record's body must not be told. */
  coversRecord(record: { readonly seq: number; readonly collection: Uint8Array; readonly key: Uint8Array }): boolean {
    if (this.#byEntity.size === 0) return false;
    return record.seq < (this.#byEntity.get(entityKeyFromBytes(record.collection, record.key))?.seq ?? 0);
  }
}
