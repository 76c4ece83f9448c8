/**
 * The power goes at every change to the disk that trims, a compaction and an erasure make, with the catalog deleted in between: the next
 * open has the old or the new, never neither; nothing that is kept is lost, no file is left behind, and the offline check finds it sound.
 */
import { describe, expect, it } from 'vitest';
import { checkDatabase } from '../../engine/check.js';
import { isVarveError } from '../../engine/errors.js';
import { blake3, hex } from '../../engine/format/hash.js';
import { type Database, openWith } from '../../engine/index.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation } from '../../engine/platform/memory-faults.js';
import { copyMarkOf, FILE_HEADER_BYTES } from '../../engine/tree/tree-file.js';
import { filesThatSay } from '../support/decoded.js';
import { freshRoot } from '../support/root.js';

const optionsOf = (compress: boolean) => ({ segmentBytes: 3000, checkpointRecords: 1_000_000, upkeep: { automatic: false, compress } });
type Options = ReturnType<typeof optionsOf>;
const CANARY = 'canary-4711';
const LOG = 'shards/0001/log';
const TREE = 'shards/0001/tree';

interface Prepared {
  readonly options: Options;
  readonly machine: MemoryPlatform;
  readonly kept: ReadonlyMap<string, unknown>;
  readonly dropped: readonly string[];
  readonly erased: string;
}

async function prepared(options: Options): Promise<Prepared> {
  const machine = new MemoryPlatform({ seed: 11, trace: true });
  const db = await openWith(machine, options);
  const ids: { id: string; body: unknown }[] = [];
  const erased = (await db.put('people', 'alice', { name: CANARY })).id;
  for (let version = 0; version < 6; version++) {
    for (let i = 0; i < 4; i++) {
      const body = { version, i, pad: 'x'.repeat(150) };
      ids.push({ id: (await db.put('c', `k${i}`, body)).id, body });
    }
    if (version === 1) await db.createSnapshot('s', db.newestTime()!);
  }
  await db.setRetention('c', { keep: 'last', versions: 2 });
  await db.close();
  const isKept = (at: number) => Math.floor(at / 4) === 1 || Math.floor(at / 4) >= 4;
  return {
    options,
    machine,
    kept: new Map(ids.filter((_, at) => isKept(at)).map(({ id, body }) => [id, body])),
    dropped: ids.filter((_, at) => !isKept(at)).map(({ id }) => id),
    erased,
  };
}

/** What is under test. Tells when the erasure was acknowledged. */
async function upkeep(db: Database, acknowledged: () => void): Promise<void> {
  await db.jobEnded(db.compact({ force: true }).id);
  const job = await db.erase({ collection: 'people', key: 'alice', reason: 'asked to' });
  acknowledged();
  await db.jobEnded(job.id);
}

function stateOf(db: Database, id: string): unknown {
  try {
    const record = db.record(id)!;
    return record.erased ? 'erased' : record.body;
  } catch (error) {
    if (isVarveError(error, 'TRIMMED')) return 'trimmed';
    throw error;
  }
}

async function holds(
  machine: MemoryPlatform,
  { options, kept, dropped, erased }: Prepared,
  isErased: boolean,
  where: string,
): Promise<void> {
  const report = await checkDatabase(machine.clone(), new MemoryPlatform());
  expect(
    report.findings.filter(({ severity }) => severity === 'damage'),
    where,
  ).toEqual([]);
  if (machine.files.exists('catalog.sqlite')) machine.files.remove('catalog.sqlite');
  const db = await openWith(machine, options);
  for (const { id } of db.jobs()) await db.jobEnded(id);
  for (const [id, body] of kept) expect(stateOf(db, id), `${where}: ${id}`).toEqual(body);
  for (const id of dropped) {
    const state = stateOf(db, id);
    if (state !== 'trimmed') expect(state, `${where}: ${id}`).toMatchObject({ pad: expect.any(String) });
  }
  if (isErased) expect(stateOf(db, erased), where).toBe('erased');
  const { seq, root } = (await db.root(1))!;
  expect((await freshRoot(db, 1, seq)).root, where).toBe(root);
  // Nothing is left behind: as many files as the log has segments, and in the tree's directory those that count alone.
  expect(treeFilesToo(machine), where).toEqual([]);
  expect(machine.files.list(LOG), where).toHaveLength(db.stats().shards[0]!.segments);
  if (isErased) expect(filesThatSay(machine, CANARY), where).toEqual([]);
  // What was cut short can be done again, to the end.
  await upkeep(db, () => {});
  expect(db.jobs().map(({ state }) => state)).not.toContain('failed');
  for (const [id, body] of kept) expect(stateOf(db, id), `${where}: ${id}`).toEqual(body);
  for (const id of dropped) expect(stateOf(db, id), `${where}: ${id}`).toBe('trimmed');
  expect(stateOf(db, erased), where).toBe('erased');
  expect(db.shards()[0]!.deadBytes, where).toBe(0);
  await db.close();
}

/** Tree files that a finished copy supersedes, or an unfinished one left. */
function treeFilesToo(machine: MemoryPlatform): string[] {
  const marks = machine.files.list(TREE).map((name) => {
    const header = machine.contents(`${TREE}/${name}`).subarray(0, FILE_HEADER_BYTES);
    return { name, number: header.readUInt32LE(32), mark: copyMarkOf(Buffer.from(header)) };
  });
  const closing = marks.findLast(({ mark }) => mark?.closes === true);
  return marks
    .filter(({ number, mark }) => {
      if (closing === undefined || number > closing.number) return mark !== undefined;
      return mark?.first !== closing.mark!.first;
    })
    .map(({ name }) => name);
}

/** One text for two disks that hold the same in all but the catalog, which is deleted anyway. */
function diskState(machine: MemoryPlatform): string {
  const paths = [LOG, TREE].flatMap((folder) =>
    machine.files.exists(folder) ? machine.files.list(folder).map((name) => `${folder}/${name}`) : [],
  );
  return hex(blake3(...paths.flatMap((path) => [Buffer.from(`${path}\0`), machine.contents(path)])));
}

describe.each([true, false])('a power cut in a trim, a compaction or an erasure, compressing: %s', (compress) => {
  it('leaves the old or the new at every change to the disk', { timeout: 300_000 }, async () => {
    const options = optionsOf(compress);
    const before = await prepared(options);
    const whole = before.machine.clone({ trace: true });
    const db = await openWith(whole, options);
    const from = whole.ops;
    await upkeep(db, () => {});
    const to = whole.ops;
    const moments = whole.trace.flatMap((operation, index) => (index >= from && index < to && isMutation(operation) ? [index] : []));
    expect(moments.length).toBeGreaterThan(30);
    expect(whole.trace.slice(from, to).filter(({ kind, path }) => kind === 'remove' && path.startsWith(TREE)).length).toBeGreaterThan(0);
    await db.close();
    let acknowledgements = 0;
    const held = new Set<string>();
    for (const index of moments) {
      for (const seed of [0, 1]) {
        const machine = before.machine.clone();
        const cut = await openWith(machine, options);
        machine.crashAt(index);
        let isErased = false;
        await upkeep(cut, () => (isErased = true)).catch(() => undefined);
        expect(machine.halted, `${index}`).toBe(true);
        const after = seed === 0 ? machine.killProcess() : machine.crash(randomChooser(index * 31 + seed), { tear: [1, 511] });
        if (isErased) acknowledgements++;
        // A sync changes nothing that a killed process leaves, and much of what it changes for a power cut is not lost either way.
        const state = `${isErased} ${diskState(after)}`;
        if (held.has(state)) continue;
        held.add(state);
        await holds(after, before, isErased, `cut before operation ${index}, way ${seed}`);
      }
    }
    expect(acknowledgements).toBeGreaterThan(0);
    expect(held.size).toBeGreaterThan(moments.length / 2);
  });
});
