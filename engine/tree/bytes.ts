/** Small things done to bytes, as nodes are made of them. Pure functions; integers are in format/bytes. */

/** Up to here a loop copies faster than a call out of JavaScript. */
const LOOP_BYTES = 128;

/** Copies a few bytes: cheaper than a call into native code below about a hundred. */
export function copyBytes(from: Uint8Array, start: number, end: number, into: Uint8Array, at: number): void {
  for (let i = start, to = at; i < end; i++, to++) into[to] = from[i]!;
}

/** Copies any number of bytes: natively from where that is cheaper. */
export function moveBytes(from: Uint8Array, start: number, end: number, into: Uint8Array, at: number): void {
  if (end - start <= LOOP_BYTES) copyBytes(from, start, end, into, at);
  else into.set(new Uint8Array(from.buffer, from.byteOffset + start, end - start), at);
}

/** How many bytes two ranges share from their beginnings on, `most` at most. */
export function sharedBytes(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, most: number): number {
  let shared = 0;
  while (shared < most && a[aStart + shared] === b[bStart + shared]) shared++;
  return shared;
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
