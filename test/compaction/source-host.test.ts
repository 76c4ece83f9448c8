/**
 * Reading for a rewrite on a thread beside it: the same file comes of it, and nothing is left where either side fails. The thread here is
 * a loop in this process over the simulated disk, so that every order of events is the same each time.
 */
import { describe, expect, it } from 'vitest';
import { rewriteSegments, swapSegments } from '../../engine/compaction/index.js';
import { Cancelled } from '../../engine/compaction/pace.js';
import { SourceHost } from '../../engine/compaction/source-host.js';
import { serve } from '../../engine/compaction/source-thread.js';
import { type RewriteTask, taskParts } from '../../engine/compaction/task.js';
import { isVarveError } from '../../engine/errors.js';
import { isGap, ShardLog } from '../../engine/log/index.js';
import type { Segment } from '../../engine/log/segment-state.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { Platform, Thread, ThreadEvents } from '../../engine/platform/platform.js';
import { SeqSet } from '../../engine/retention/seq-set.js';
import { DIRECTORY, Ledger, logOptions, showRecord } from '../log/support.js';

/** A machine with threads; `dieAt` says before which of its messages the thread dies. */
class Threads {
  started = 0;
  messages = 0;
  dieAt = Number.POSITIVE_INFINITY;
  readonly platform: Platform;

  constructor(machine: MemoryPlatform) {
    const { files, clock } = machine;
    const randomBytes = (size: number) => machine.randomBytes(size);
    this.platform = { files, clock, randomBytes, startThread: (_, events) => this.#start(events, { files, clock, randomBytes }) };
  }

  #start(events: ThreadEvents, platform: Platform): Thread {
    this.started++;
    let receive: (message: unknown) => void = () => undefined;
    let dead = false;
    serve(platform, {
      post: (message, moved = []) => {
        const copy: unknown = structuredClone(message, { transfer: [...moved] });
        if (dead) return;
        if (++this.messages >= this.dieAt) {
          dead = true;
          this.dieAt = Number.POSITIVE_INFINITY;
          return queueMicrotask(() => events.ended('it was told to die'));
        }
        queueMicrotask(() => events.message(copy));
      },
      listen: (listener) => {
        receive = listener;
      },
    });
    return {
      post: (message, moved = []) => {
        const copy: unknown = structuredClone(message, { transfer: [...moved] });
        queueMicrotask(() => dead || receive(copy));
      },
      hold: () => undefined,
      stop: async () => {
        dead = true;
      },
    };
  }
}

async function filled(): Promise<{ machine: MemoryPlatform; log: ShardLog; sources: Segment[] }> {
  const machine = new MemoryPlatform({ seed: 1 });
  const log = await ShardLog.open({ ...logOptions(machine), segmentBytes: 300_000 });
  const ledger = new Ledger();
  for (let i = 0; i < 400; i++) await ledger.append(log, [[9], [3, 2], [1, 0, 8], [5]][i % 4]!, 1000);
  await log.roll();
  await log.sealed();
  const sources = log.segmentSet.all.filter((segment) => segment.sealed);
  expect(sources.length).toBeGreaterThan(4);
  return { machine, log, sources };
}

const noPace = async (): Promise<void> => {};

function rewrite(log: ShardLog, sources: readonly Segment[], host?: SourceHost, pace = noPace) {
  const drops = new SeqSet();
  for (let seq = 1; seq <= sources.at(-1)!.lastSeq; seq++) if (seq % 3 === 0) drops.add(seq);
  const { directory, options } = log.context;
  const { shard, databaseId } = options;
  const names = sources.map(({ name }) => name);
  const rest = { drops: drops.pages, erased: [], compactedThrough: 0, compress: true };
  const task: RewriteTask = { directory, shard, databaseId, sources: names, ...rest };
  const { dropping } = taskParts(log.context.platform, task);
  const source = host === undefined ? {} : { source: (target: Segment) => host.read(task, target, pace) };
  return rewriteSegments({ context: log.context, sources, dropping, compactedThrough: 0, compress: true, pace, ...source });
}

function temporaries(machine: MemoryPlatform): string[] {
  return machine.files.list(DIRECTORY).filter((name) => name.endsWith('.tmp'));
}

describe('reading for a rewrite on a thread beside it', () => {
  it('makes the very file that is made without', async () => {
    const here = await filled();
    const alone = await rewrite(here.log, here.sources);
    const there = await filled();
    const host = new SourceHost(new Threads(there.machine).platform);
    expect(host.start()).toBe(true);
    const beside = await rewrite(there.log, there.sources, host);
    expect({ ...beside, segment: 0 }).toEqual({ ...alone, segment: 0 });
    expect(beside.recordsAfter).toBeLessThan(beside.recordsBefore);
    const [one, other] = [here, there].map(({ machine }) => Buffer.from(machine.contents(alone.temporaryPath)));
    expect(other!.equals(one!)).toBe(true);
    expect(await swapSegments(there.log, there.sources, beside.segment)).toBe(true);
    expect(await swapSegments(here.log, here.sources, alone.segment)).toBe(true);
    const [a, b] = [here, there].map(({ log }) => [...log.batches(1)].map((batch) => (isGap(batch) ? 0 : batch.records.map(showRecord))));
    expect(b).toEqual(a);
  });

  it('does one task after another on the same thread', async () => {
    const { machine, log, sources } = await filled();
    const threads = new Threads(machine);
    const host = new SourceHost(threads.platform);
    const [a, b] = [sources.slice(0, 3), sources.slice(3, 5)];
    for (const group of [a, b]) expect(await swapSegments(log, group, (await rewrite(log, group, host)).segment)).toBe(true);
    expect(threads.started).toBe(1);
    expect([...log.scrub()].some((found) => 'kind' in found && found.kind === 'bad')).toBe(false);
  });

  it('ends with CORRUPT and no target where a source is bad, and goes on with the next', async () => {
    const { machine, log, sources } = await filled();
    const host = new SourceHost(new Threads(machine).platform);
    const path = sources[2]!.path;
    machine.damage(path, 40_000, Buffer.from([machine.contents(path)[40_000]! ^ 1]));
    await expect(rewrite(log, sources, host)).rejects.toSatisfy((error) => isVarveError(error, 'CORRUPT'));
    expect(temporaries(machine)).toEqual([]);
    expect((await rewrite(log, sources.slice(3), host)).recordsAfter).toBeGreaterThan(0);
  });

  it('finds what was not written as it was meant', async () => {
    const { machine, log, sources } = await filled();
    const host = new SourceHost(new Threads(machine).platform);
    let paces = 0;
    const damage = async (): Promise<void> => {
      const [name] = temporaries(machine);
      if (name === undefined || ++paces !== 3) return;
      const path = `${DIRECTORY}/${name}`;
      const at = machine.contents(path).length - 100;
      machine.damage(path, at, Buffer.from([machine.contents(path)[at]! ^ 1]));
    };
    await expect(rewrite(log, sources, host, damage)).rejects.toSatisfy((error) => isVarveError(error, 'CORRUPT'));
    expect(paces).toBeGreaterThanOrEqual(3);
    expect(temporaries(machine)).toEqual([]);
  });

  it('is given up by who cancels it, at any place, and then takes another', async () => {
    const { machine, log, sources } = await filled();
    const host = new SourceHost(new Threads(machine).platform);
    for (const last of [1, 2, 3]) {
      let paces = 0;
      const cancel = async (): Promise<void> => {
        if (++paces >= last) throw new Cancelled();
      };
      await expect(rewrite(log, sources, host, cancel)).rejects.toBeInstanceOf(Cancelled);
      expect(temporaries(machine)).toEqual([]);
    }
    expect((await rewrite(log, sources, host)).recordsAfter).toBeGreaterThan(0);
  });

  it('fails where the thread dies, whenever that is, and starts another', async () => {
    const { machine, log, sources } = await filled();
    const threads = new Threads(machine);
    const host = new SourceHost(threads.platform);
    for (const dieAt of [1, 2, 6]) {
      threads.messages = 0;
      threads.dieAt = dieAt;
      await expect(rewrite(log, sources, host)).rejects.toThrow('it was told to die');
      expect(temporaries(machine)).toEqual([]);
    }
    expect((await rewrite(log, sources, host)).recordsAfter).toBeGreaterThan(0);
    expect(threads.started).toBe(4);
  });
});
