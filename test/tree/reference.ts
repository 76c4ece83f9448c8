/** The tree as docs/FORMAT.md tells it, written from there alone: slow, short, and with nothing of the engine's tree. */
import { blake3, halfSipHash } from '../../engine/format/hash.js';

interface Entry {
  key: Buffer;
  value: Buffer;
}

export function referenceRoot(
  databaseId: Uint8Array,
  target: number,
  entries: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
): string {
  let level = entries.map(({ key, value }): Entry => ({ key: Buffer.from(key), value: Buffer.from(value) }));
  if (level.length === 0) return hashOf(0, Buffer.from('4c00000000002f00', 'hex')).toString('hex');
  for (let height = 0; ; height++) {
    const nodes = chunks(databaseId, target, height, level);
    const above = nodes.map((node): Entry => {
      const below = Buffer.alloc(6);
      below.writeUIntLE(height === 0 ? node.length : node.reduce((sum, entry) => sum + entry.value.readUIntLE(32, 6), 0), 0, 6);
      return { key: node.at(-1)!.key, value: Buffer.concat([hashOf(height, encode(height, node)), below]) };
    });
    if (nodes.length === 1) return above[0]!.value.subarray(0, 32).toString('hex');
    level = above;
  }
}

function chunks(databaseId: Uint8Array, target: number, height: number, entries: readonly Entry[]): Entry[][] {
  const digest = blake3(Buffer.from('varve tree boundary 1\0'), databaseId, Uint8Array.of(height));
  const secret = Uint32Array.of(digest.readUInt32LE(0), digest.readUInt32LE(4));
  const unit = target / 16;
  const nodes: Entry[][] = [[]];
  let filled = 0;
  for (const entry of entries) {
    const node = nodes.at(-1)!;
    node.push(entry);
    const size = entry.key.length + entry.value.length + 2;
    filled += size;
    const never = filled < target / 4 || (height > 0 && node.length === 1);
    const chance = BigInt(size) * 177026n * BigInt(Math.floor(filled / unit)) ** 3n;
    if (!never && (filled >= 3 * target || BigInt(halfSipHash(secret, entry.key)) * BigInt(unit) < chance)) {
      nodes.push([]);
      filled = 0;
    }
  }
  return nodes.filter((node) => node.length > 0);
}

function encode(height: number, node: readonly Entry[]): Buffer {
  const [first, last] = [node[0]!.key, node.at(-1)!.key];
  let prefix = 0;
  while (prefix < first.length && prefix < last.length && first[prefix] === last[prefix]) prefix++;
  const header = Buffer.from([height === 0 ? 0x4c : 0x49, height, 0, 0, 0, 0, node[0]!.value.length, 0]);
  header.writeUInt16LE(node.length, 2);
  header.writeUInt16LE(prefix, 4);
  const rests = node.map((entry) => entry.key.subarray(prefix));
  const ends = Buffer.alloc(2 * node.length);
  rests.reduce((end, rest, i) => ends.writeUInt16LE(end + rest.length, 2 * i) * 0 + end + rest.length, 0);
  return Buffer.concat([header, first.subarray(0, prefix), ends, ...rests, ...node.map((entry) => entry.value)]);
}

function hashOf(height: number, hashed: Buffer): Buffer {
  return blake3(Buffer.from(height === 0 ? 'varve tree leaf 1\0' : 'varve tree inner 1\0'), hashed);
}
