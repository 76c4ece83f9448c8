/** What numbers and names from a peer may be. Nothing here throws. */

const MAX_SEQ = 2 ** 48 - 1;
const MAX_EPOCH = 2 ** 32 - 1;
const MAX_URL_CHARS = 2048;

export function isSeq(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_SEQ;
}

export function isEpoch(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_EPOCH;
}

export function isShard(value: unknown, shards: number): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= shards;
}

/** Of a node or a database. */
export function isIdentity(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

export function isPeerUrl(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_URL_CHARS && /^https?:\/\/[^\s/?#@]+$/.test(value);
}

/** A whole number in a query; undefined for anything else. */
export function numberOf(text: string | null): number | undefined {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
