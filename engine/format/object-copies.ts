/**
 * Copies of objects, each of a hidden class that its place in the code has met before: an engine copies such an object in one go
 * where that place has met few classes, and ten times slower where it has met many. So there are many places, which all do the same.
 */
import type { JsonValue } from '../types.js';

export type Fields = { [key: string]: JsonValue };

/** Each has met its own share of the classes. */
export const COPIERS: readonly ((fields: Fields) => Fields)[] = [
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
  (fields) => ({ ...fields }),
];
