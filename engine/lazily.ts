/**
 * Parts that are made when they are first asked for. Opening makes what the first answer needs; a class that runs for the first time
 * takes some hundredths of a millisecond, and a database has dozens.
 */

/** A function that calls `make` once, at its first call. */
export function lazily<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
