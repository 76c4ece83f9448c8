/** Changes to bytes, as accidents and attackers make them: overwritten, flipped, zeroed, copied from elsewhere, cut, grown. */
import fc from 'fast-check';

type Change =
  | { kind: 'overwrite'; at: number; bytes: Uint8Array }
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'number'; at: number; value: number; width: number }
  | { kind: 'copy'; from: number; at: number; length: number }
  | { kind: 'remove'; at: number; length: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'cut'; at: number };

const at = fc.nat(1_000_000);
const changes: fc.Arbitrary<readonly Change[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('overwrite' as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }) }),
    fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat(7) }),
    // Lengths and counts at their edges.
    fc.record({
      kind: fc.constant('number' as const),
      at,
      value: fc.constantFrom(0, 1, 7, 127, 128, 255, 256, 65_535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
      width: fc.constantFrom(1, 2, 4),
    }),
    fc.record({ kind: fc.constant('copy' as const), from: at, at, length: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ kind: fc.constant('remove' as const), at, length: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ kind: fc.constant('insert' as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
    fc.record({ kind: fc.constant('cut' as const), at }),
  ),
  { maxLength: 4 },
);

function apply(bytes: Buffer, change: Change): Buffer {
  const place = change.at % (bytes.length + 1);
  switch (change.kind) {
    case 'overwrite':
      bytes.set(change.bytes.subarray(0, bytes.length - place), place);
      return bytes;
    case 'flip':
      if (place < bytes.length) bytes[place]! ^= 1 << change.bit;
      return bytes;
    case 'number':
      if (place + change.width <= bytes.length) bytes.writeUIntLE(change.value % 2 ** (8 * change.width), place, change.width);
      return bytes;
    case 'copy': {
      const from = change.from % (bytes.length + 1);
      bytes.copy(bytes, place, from, Math.min(bytes.length, from + change.length));
      return bytes;
    }
    case 'remove':
      return Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + change.length)]);
    case 'insert':
      return Buffer.concat([bytes.subarray(0, place), change.bytes, bytes.subarray(place)]);
    case 'cut':
      return bytes.subarray(0, place);
  }
}

/** One of the samples, changed up to four times. */
export function mutated(samples: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.nat(samples.length - 1), changes)
    .map(([which, list]) => list.reduce<Buffer>((bytes, change) => apply(bytes, change), Buffer.from(samples[which]!)));
}
