/** Small things done to bytes, as nodes are made of them. Pure functions; integers are in format/bytes. */

/** Copies a few bytes: cheaper than a call into native code below about a hundred. */
export function copyBytes(from: Uint8Array, start: number, end: number, into: Uint8Array, at: number): void {
  for (let i = start, to = at; i < end; i++, to++) into[to] = from[i]!;
}

/** Byte order: negative, zero, positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = a.length < b.length ? a.length : b.length;
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
