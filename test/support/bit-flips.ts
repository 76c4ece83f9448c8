/**
 * A small closed database, one bit of one file wrong, everything asked: the answers are exactly right, or a
 * clear error says that they are not to be had. Never a wrong answer, never another kind of exception.
 */
import type { Database, OpenOptions } from '../../engine/database.js';
import { type ErrorCode, isVarveError, VarveError } from '../../engine/errors.js';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { type InsertItem, recordId } from '../../engine/types.js';
import { describeRecord } from './compare.js';

const OPTIONS: OpenOptions = { segmentBytes: 700, checkpointRecords: 1_000_000 };
const REPEATED: { items: InsertItem[]; key: string } = { items: [{ collection: 'c', key: 'once', body: 'only' }], key: 'idempotent' };
/** What the checkpoints below cover, and a seq that none covers. */
const CHECKPOINTS = [2, 3, 11, 12, 13];
const LAST_SEQ = 16;
/** What may be said of damage. */
const CLEAR: readonly ErrorCode[] = ['CORRUPT', 'DAMAGED', 'INCOMPATIBLE', 'UNAVAILABLE' as ErrorCode];

export interface Subject {
  readonly machine: MemoryPlatform;
  /** Answers to every question, by question. */
  readonly answers: ReadonlyMap<string, string>;
}

/** Several segments, sealed and active, two checkpoints, a tombstone, refs, a batch, an idempotency key; compacted, where it is to be packed; then closed. */
export async function makeSubject(packed = false): Promise<Subject> {
  const machine = new MemoryPlatform({ seed: 7 });
  const db = await openWith(machine, OPTIONS);
  const first = await db.put('c', 'a', { n: 1 });
  await db.insert(REPEATED.items, { idempotencyKey: REPEATED.key });
  await db.put('c', 'b', 'two', { refs: [first.id] });
  await db.checkpoint();
  await db.insert([
    { collection: 'd', key: 'x', body: [1, 2, 3] },
    { collection: 'd', key: 'y', body: 'p'.repeat(200), refs: ['#0'] },
  ]);
  await db.delete('c', 'b');
  for (let i = 0; i < 4; i++) await db.put('c', `k${i % 2}`, { i, pad: 'q'.repeat(60) });
  if (packed) await db.jobEnded(db.compact({ force: true }).id);
  await db.close();
  return { machine, answers: await ask(await openWith(machine.clone(), OPTIONS)) };
}

/** Every question there is about the small database; each answered, or refused with an error kept in its place. */
async function ask(db: Database, errors: unknown[] = []): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  const put = async (question: string, answer: () => string | Promise<string>): Promise<void> => {
    try {
      answers.set(question, await answer());
    } catch (error) {
      errors.push(error);
    }
  };
  await put('shards', () => String(db.shardCount));
  await put('database', () => db.databaseId);
  for (let seq = 1; seq <= LAST_SEQ; seq++) {
    const id = recordId(1, seq);
    await put(`record ${seq}`, () => describeHashed(db.record(id)));
    // Looking for a checkpoint may read the whole log: only asked where there is one, and beside it.
    if (CHECKPOINTS.includes(seq)) await put(`root ${seq}`, async () => (await db.root(1, seq))?.root ?? 'none');
    await put(`as of ${seq}`, async () => {
      const record = db.record(id);
      if (record === undefined) return 'none';
      const [byId, byTime] = [await db.asOf(id), await db.asOf(record.time)];
      return listing(byId) + listing(byTime);
    });
  }
  for (const key of ['a', 'b', 'once', 'k0', 'k1', 'x', 'y', 'never']) {
    for (const collection of ['c', 'd']) {
      await put(`newest ${collection}/${key}`, () => describeHashed(db.now().get(collection, key)));
      await put(`history ${collection}/${key}`, () => db.now().history(collection, key).records.map(describeHashed).join('\n'));
    }
  }
  await put('listing', () => listing(db.now()));
  await put('collections', async () => JSON.stringify(await db.collections()));
  await put('newest time', () => db.newestTime() ?? 'none');
  await put('root', async () => JSON.stringify(await db.root(1)));
  await put('repeated', async () => {
    const answer = await db.insert(REPEATED.items, { idempotencyKey: REPEATED.key });
    return `${answer.replayed} ${answer.records.map((record) => record.id).join()}`;
  });
  await put('close', async () => {
    await db.close();
    return 'closed';
  });
  return answers;
}

const describeHashed = (record: ReturnType<Database['record']>): string => `${describeRecord(record)} ${record?.hash}`;

function listing(view: ReturnType<Database['now']>): string {
  return ['c', 'd'].map((collection) => view.list(collection).map(describeHashed).join('\n')).join('\n\n');
}

export type Verdict = 'right' | 'refused';

/** Throws where an answer is wrong or an error unclear. */
export async function flipAndAsk(subject: Subject, path: string, bit: number): Promise<Verdict> {
  const machine = subject.machine.clone();
  machine.flipBit(path, bit);
  const errors: unknown[] = [];
  const where = `bit ${bit % 8} of byte ${Math.floor(bit / 8)} of ${path}`;
  try {
    const answers = await ask(await openWith(machine, OPTIONS), errors);
    for (const [question, answer] of answers) {
      const right = subject.answers.get(question);
      if (answer !== right) throw new Error(`${where}: a wrong answer to '${question}': ${answer}, not ${right}`);
    }
  } catch (error) {
    if (error instanceof Error && error.message.startsWith(where)) throw error;
    errors.push(error);
  }
  for (const error of errors) {
    if (CLEAR.some((code) => isVarveError(error, code))) continue;
    // A shard that found damage takes no writes; it says so.
    if (isVarveError(error, 'NOT_WRITTEN') && errors.some((other) => other instanceof VarveError && other.code !== 'NOT_WRITTEN')) continue;
    throw new Error(`${where}: not a clear error: ${error instanceof Error ? error.stack : String(error)}`, { cause: error });
  }
  return errors.length > 0 ? 'refused' : 'right';
}
