/** Small trees on a simulated disk, and a model to hold them against: a map from key to value. */
import fc from 'fast-check';
import { entityKey, treeKey } from '../../engine/format/keys.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { checkTree, type TreeReport } from '../../engine/tree/check.js';
import { NodeCache, TreeStore, type TreeStoreOptions } from '../../engine/tree/tree-store.js';
import { LEAF_VALUE_BYTES, type TreeChange, type TreeRoot } from '../../engine/tree/types.js';

export const DATABASE_ID = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
export const DIRECTORY = 'shards/0001/tree';
/** Leaves of a handful of entries: a few hundred make several levels. */
export const SMALL = 256;

export interface TestStoreOptions extends Partial<Omit<TreeStoreOptions, 'platform'>> {
  readonly machine?: MemoryPlatform;
}

export function openStore(options: TestStoreOptions = {}): Promise<TreeStore> {
  const { machine = new MemoryPlatform(), ...rest } = options;
  return TreeStore.open({
    platform: machine,
    directory: DIRECTORY,
    shard: 1,
    databaseId: DATABASE_ID,
    cache: new NodeCache(16 * 1024 * 1024),
    targetBytes: SMALL,
    ...rest,
  });
}

export const noPause = (): Promise<void> => Promise.resolve();

export function fold(store: TreeStore, root: TreeRoot | undefined, changes: Iterable<TreeChange>, seq = 1): Promise<TreeRoot> {
  return store.fold(root, changes, seq, noPause);
}

/** 47 bytes that differ for every `n`. */
export function bodyOf(n: number): Uint8Array {
  const value = new Uint8Array(LEAF_VALUE_BYTES);
  for (let i = 0; i < LEAF_VALUE_BYTES; i++) value[i] = Math.imul(n + i, 0x9e3779b1) >>> 24;
  value[0] = n;
  value[1] = n >>> 8;
  value[2] = n >>> 16;
  return value;
}

/** Keys as latin1 strings, so that `<` is byte order. */
export type Model = Map<string, number>;

export function bytesOf(key: string): Uint8Array {
  return Buffer.from(key, 'latin1');
}

export function versionKey(key: string, seq: number, collection = 'c'): string {
  return Buffer.from(treeKey(entityKey(collection, key), seq)).toString('latin1');
}

export function sortedKeys(keys: Iterable<string>): string[] {
  return [...keys].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** undefined removes. */
export function run(changes: Iterable<readonly [string, number | undefined]>): TreeChange[] {
  const unique = new Map(changes);
  return sortedKeys(unique.keys()).map((key) => {
    const n = unique.get(key);
    return { key: bytesOf(key), value: n === undefined ? undefined : bodyOf(n) };
  });
}

export function applyToModel(model: Model, changes: Iterable<readonly [string, number | undefined]>): void {
  for (const [key, n] of changes) {
    if (n === undefined) model.delete(key);
    else model.set(key, n);
  }
}

export async function freshHash(model: Model, options: TestStoreOptions = {}): Promise<string> {
  const store = await openStore(options);
  return hexOf(await fold(store, undefined, run(model)));
}

export function hexOf(root: TreeRoot): string {
  return Buffer.from(root.hash).toString('hex');
}

/** Everything in the tree, by cursor. */
export function contents(store: TreeStore, root: TreeRoot): [string, string][] {
  const found: [string, string][] = [];
  const cursor = store.cursor(root);
  for (cursor.seekFirst(); cursor.valid; cursor.next()) found.push([cursor.keyLatin1(), cursor.value().toString('hex')]);
  return found;
}

export function modelContents(model: Model): [string, string][] {
  return sortedKeys(model.keys()).map((key) => [key, Buffer.from(bodyOf(model.get(key)!)).toString('hex')]);
}

export function check(store: TreeStore, root: TreeRoot, rule = store.rule): TreeReport {
  const steps = checkTree(store, root, rule);
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}

/** Version keys that crowd together: few entities, some a prefix of another, some hot, seqs near and far. */
export const versionKeys: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom('a', 'ab', 'abc', 'b', 'a b', 'hot', 'x'.repeat(60), `${'x'.repeat(60)}y`, 'ü', '~'),
    fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 2 ** 32 - 40, max: 2 ** 32 + 40 }), fc.constant(2 ** 48 - 1)),
    fc.constantFrom('c', 'cc'),
  )
  .map(([key, seq, collection]) => versionKey(Buffer.from(key, 'utf8').toString('utf8'), seq, collection));

export const changeRuns: fc.Arbitrary<[string, number | undefined][]> = fc.array(
  fc.tuple(
    versionKeys,
    fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 9 }) }, { weight: 1, arbitrary: fc.constant(undefined) }),
  ),
  { maxLength: 120 },
);
