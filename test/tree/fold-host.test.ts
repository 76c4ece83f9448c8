/**
 * Folding on another thread: the messages, the files that change hands, and what happens when the thread dies. The thread here is
 * a loop in this process over the simulated disk, so that every order of events is the same each time; the real one is in
 * test/engine/fold-thread.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { EntityHash } from '../../engine/entity-hash.js';
import { isVarveError } from '../../engine/errors.js';
import { entityKey } from '../../engine/format/keys.js';
import { Memtable } from '../../engine/memtable.js';
import { keepEverything, loseEverything } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { Platform, Thread, ThreadEvents } from '../../engine/platform/platform.js';
import { SeqSet } from '../../engine/retention/seq-set.js';
import { serve } from '../../engine/tree/fold-thread.js';
import { scanNewest } from '../../engine/tree/newest-scan.js';
import type { RebuiltTree } from '../../engine/tree/rebuild.js';
import { FoldHost, type TreeStore } from '../../engine/tree/tree-store.js';
import type { TreeRoot } from '../../engine/tree/types.js';
import { check, contents, DIRECTORY, hexOf, noPause, openStore } from './support.js';

/** A machine with threads; `dieAt` says before which of its messages the thread dies. */
class Threads {
  started = 0;
  messages = 0;
  dieAt = Infinity;
  readonly platform: Platform;
  held = false;

  constructor(machine: MemoryPlatform) {
    this.platform = {
      files: machine.files,
      clock: machine.clock,
      randomBytes: (size) => machine.randomBytes(size),
      startThread: (_, events) => this.#start(events),
    };
  }

  #start(events: ThreadEvents): Thread {
    this.started++;
    let receive: (message: unknown) => void = () => undefined;
    let dead = false;
    const { files, clock, randomBytes } = this.platform;
    serve(
      { files, clock, randomBytes },
      {
        post: (message) => {
          if (dead) return;
          if (++this.messages < this.dieAt) return events.message(structuredClone(message));
          dead = true;
          this.dieAt = Infinity;
          events.ended('it was told to die');
        },
        listen: (listener) => {
          receive = listener;
        },
      },
    );
    return {
      post: (message, moved = []) => {
        const copy: unknown = structuredClone(message, { transfer: [...moved] });
        queueMicrotask(() => receive(copy));
      },
      hold: (held) => {
        this.held = held;
      },
      stop: async () => {
        dead = true;
      },
    };
  }
}

function versions(round: number, count: number): Memtable {
  const table = new Memtable();
  for (let i = 0; i < count; i++) {
    const seq = round * 10_000 + i + 1;
    table.add(entityKey('c', `k${(i * 7919 + round * 31) % 500}`), seq, seq, 1, 0, Buffer.alloc(32, seq % 251));
  }
  return table;
}

const ALWAYS = { starting: 1, sending: 1 };

interface Fixture {
  readonly machine: MemoryPlatform;
  readonly threads: Threads;
  readonly host: FoldHost;
  readonly store: TreeStore;
  fold(root: TreeRoot | undefined, round: number, count?: number): Promise<TreeRoot>;
}

async function fixture(machine = new MemoryPlatform()): Promise<Fixture> {
  const threads = new Threads(machine);
  const host = new FoldHost(threads.platform, ALWAYS);
  const store = await openStore({ machine, host, fileBytes: 16 * 1024 });
  return {
    machine,
    threads,
    host,
    store,
    fold: (root, round, count = 300) => {
      const table = versions(round, count);
      return store.foldVersions(root, table.run(), round, noPause);
    },
  };
}

/** The same folds done here. */
async function rootHere(rounds: number): Promise<string> {
  const store = await openStore({ fileBytes: 16 * 1024 });
  let root: TreeRoot | undefined;
  for (let round = 1; round <= rounds; round++) {
    const table = versions(round, 300);
    root = await store.foldVersions(root, table.run(), round, noPause);
  }
  return hexOf(root!);
}

describe('a fold on another thread', () => {
  it('makes a tree anew there, or here where the thread dies', async () => {
    for (const dieAt of [Infinity, 2, 3, 4]) {
      const { machine, threads, store, fold } = await fixture();
      const root = await fold(await fold(undefined, 1), 2);
      const drops = new SeqSet();
      const added = versions(3, 20);
      for (let i = 0; i < 290; i++) for (const round of [1, 2]) drops.add(round * 10_000 + i + 1);
      const expected = (await store.foldDropping(root, added.run(), drops, 3, noPause)).root;
      const started = threads.started;
      threads.dieAt = threads.messages + dieAt;
      let made: RebuiltTree | undefined;
      const rebuild = { root, run: added.run(), drops, seq: 4, pause: noPause, progress: () => undefined };
      await store.rebuildDropping(rebuild, (rebuilt) => (made = rebuilt));
      expect([hexOf(made!.root), made!.root.entries], `${dieAt}`).toEqual([hexOf(expected), 40]);
      expect(threads.started - started).toBe(0);
      await store.removeSuperseded();
      expect(check(store, made!.root).problems).toEqual([]);
      // What a thread that died has left is gone as well.
      expect(machine.files.list(DIRECTORY).length, `${dieAt}`).toBe(made!.files.length + 1);
      expect(hexOf(await fold(made!.root, 4))).not.toBe(hexOf(made!.root));
      store.close();
    }
  });

  it('makes the root a fold here makes, and its nodes are read here', async () => {
    const { machine, threads, host, store, fold } = await fixture();
    let root: TreeRoot | undefined;
    for (let round = 1; round <= 4; round++) {
      root = await fold(root, round);
      expect(contents(store, root).length).toBe(round * 300);
    }
    expect(threads.started).toBe(1);
    expect(threads.held).toBe(false);
    expect(hexOf(root!)).toBe(await rootHere(4));
    expect(check(store, root!).problems).toEqual([]);
    expect(store.roots().map(({ seq }) => seq)).toEqual([4, 3, 2, 1]);
    await host.close();
    store.close();
    const again = await openStore({ machine: machine.crash(loseEverything), fileBytes: 16 * 1024 });
    expect(again.findings).toEqual([]);
    expect(again.roots().map((found) => hexOf(found.root))[0]).toBe(hexOf(root!));
  });

  it('and folds here may take turns', async () => {
    const { host, store, fold } = await fixture();
    let root = await fold(undefined, 1);
    const here = versions(2, 300);
    root = await store.foldVersions(root, here.run(), 2, noPause);
    root = await fold(root, 3);
    await host.close();
    root = await fold(root, 4);
    expect(hexOf(root)).toBe(await rootHere(4));
    expect(check(store, root).problems).toEqual([]);
  });

  it('is done here when the thread dies, wherever it dies, and another thread does the next', async () => {
    for (let dieAt = 1; dieAt <= 3; dieAt++) {
      const { threads, store, fold, machine } = await fixture();
      let root = await fold(undefined, 1);
      threads.dieAt = threads.messages + dieAt;
      for (let round = 2; round <= 4; round++) root = await fold(root, round);
      expect(threads.started).toBe(2);
      expect(hexOf(root)).toBe(await rootHere(4));
      expect(check(store, root).problems).toEqual([]);
      const again = await openStore({ machine: machine.crash(keepEverything), fileBytes: 16 * 1024 });
      expect(again.roots().map((found) => hexOf(found.root))[0]).toBe(hexOf(root));
      for (const found of again.roots()) expect(check(again, found.root).problems).toEqual([]);
    }
  });

  it('is not tried on threads that keep dying', async () => {
    const { threads, host, fold } = await fixture();
    let root: TreeRoot | undefined;
    for (let round = 1; round <= 4; round++) {
      threads.dieAt = 0;
      root = await fold(root, round);
    }
    expect(threads.started).toBe(3);
    expect(host.takes(1_000_000)).toBe(false);
    expect(hexOf(root!)).toBe(await rootHere(4));
  });

  it('that the disk fails rejects with what the disk said, changes no root, and the next one succeeds', async () => {
    for (const kind of ['write', 'sync', 'create', 'rename'] as const) {
      const { machine, threads, store, fold } = await fixture();
      const root = await fold(undefined, 1);
      machine.failOn(kind, { kind: 'error', code: 'ENOSPC' }, { times: 1 });
      await expect(fold(root, 2)).rejects.toMatchObject({ code: 'ENOSPC' });
      machine.clearFaults();
      expect(store.roots().map(({ seq }) => seq)).toEqual([1]);
      expect(hexOf(await fold(root, 2))).toBe(await rootHere(2));
      expect(threads.started).toBe(1);
    }
  });

  it('that meets a bad node rejects with CORRUPT, and goes on once the tree was removed', async () => {
    const { machine, store, fold } = await fixture();
    const root = await fold(undefined, 1);
    const path = `${DIRECTORY}/000001.tree`;
    machine.flipBit(path, (root.offset + 40) * 8);
    await expect(fold(root, 2)).rejects.toSatisfy((error) => isVarveError(error, 'CORRUPT') && error.details.file === path);
    await store.removeAll();
    const first = await fold(undefined, 1);
    expect(hexOf(await fold(first, 2))).toBe(await rootHere(2));
  });

  it('tells how far it is', async () => {
    const { store } = await fixture();
    const table = versions(1, 9000);
    const shares: number[] = [];
    await store.foldVersions(undefined, table.run(), 1, noPause, (share) => shares.push(share));
    expect(shares.length).toBeGreaterThan(3);
    expect([...shares].sort((a, b) => a - b)).toEqual(shares);
    expect(shares.at(-1)).toBeLessThanOrEqual(1);
  });

  it('lets newest versions be read between folds, part after part, the same as here', async () => {
    const { store, fold } = await fixture();
    const root = await fold(await fold(undefined, 1), 2);
    const key = Uint8Array.from({ length: 16 }, (_, i) => i);
    const there = store.newestOf(root, key, undefined);
    const next = fold(root, 3);
    const { rows, next: rest } = await there;
    expect(rest).toBeUndefined();
    const here = scanNewest(store.reader, root, new EntityHash(key), undefined, 1000).rows;
    expect([...rows]).toEqual([...here]);
    const parts: number[] = [];
    for (let from: Uint8Array | undefined, first = true; first || from !== undefined; first = false) {
      const part = scanNewest(store.reader, root, new EntityHash(key), from, 70);
      parts.push(...part.rows);
      from = part.next;
    }
    expect(parts).toEqual([...here]);
    expect(here.length).toBeGreaterThan(1500);
    expect(hexOf(await next)).toBe(await rootHere(3));
  });

  it('is not worth a thread when it is small', async () => {
    const threads = new Threads(new MemoryPlatform());
    const host = new FoldHost(threads.platform);
    expect(host.takes(100)).toBe(false);
    expect(host.takes(100_000)).toBe(true);
    await host.close();
    expect(host.takes(100_000)).toBe(false);
    expect(new FoldHost(new MemoryPlatform()).takes(100_000)).toBe(false);
  });
});
