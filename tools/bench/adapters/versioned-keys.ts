/** Keys for ordered stores of bytes: key, NUL, seq counted down, so that the newest version comes first and every lookup is a seek forward. */

const MAX = Number.MAX_SAFE_INTEGER;
/** NUL and 14 hex digits. */
const SUFFIX = 15;

export function versionedKey(key: string, seq: number): string {
  return `${key}\0${(MAX - seq).toString(16).padStart(14, '0')}`;
}

export function entityOf(versioned: string): string {
  return versioned.slice(0, -SUFFIX);
}

export function seqOf(versioned: string): number {
  return MAX - Number.parseInt(versioned.slice(1 - SUFFIX), 16);
}

/** Every version of an entity, newest first. */
export function allVersions(key: string): { gte: string; lt: string } {
  return { gte: `${key}\0`, lt: `${key}\u0001` };
}
