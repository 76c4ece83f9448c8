/**
 * Puts the members of an object in order, as bytes: `"b":1,"a":2` -> `"a":2,"b":1`.
 *
 * Invariant: it reads and writes whole words, so up to a word less a byte is read behind a member and written behind its copy: the next
 * copy covers that, and behind the last one whoever calls has the room.
 */

export const WORD_BYTES = 4;
/** From here on the runtime copies: dearer to call, cheaper a byte. */
const LONG_BYTES = 512;

/**
 * Members `base` and on of `source`, each `shift` before where `members` says that it begins, the last one up to `end`, to `start` of
 * `target` in this order, commas between them. Returns where they end.
 */
export function putMembers(
  source: DataView,
  members: Int32Array,
  base: number,
  shift: number,
  order: readonly number[],
  end: number,
  target: DataView,
  start: number,
): number {
  const last = order.length - 1;
  let to = start;
  for (let i = 0; i <= last; i++) {
    const member = order[i]!;
    const from = members[base + member]! - shift;
    const length = (member === last ? end : members[base + member + 1]! - shift - 1) - from;
    if (i > 0) target.setUint8(to++, 0x2c);
    if (length > LONG_BYTES) copyLong(source, from, length, target, to);
    else for (let j = 0; j < length; j += WORD_BYTES) target.setInt32(to + j, source.getInt32(from + j));
    to += length;
  }
  return to;
}

function copyLong(source: DataView, from: number, length: number, target: DataView, to: number): void {
  const bytes = new Uint8Array(source.buffer, source.byteOffset + from, length);
  new Uint8Array(target.buffer, target.byteOffset + to, length).set(bytes);
}
