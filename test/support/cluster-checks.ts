/**
 * What must hold of a simulated replica set (I1, I4–I6): at any time no id names two contents, whoever says it; and once it has healed
 *
 *   all copies have one root, that of a fresh build · what a quorum acknowledged is there · what was erased is in no file of any
 */
import assert from 'node:assert/strict';
import { type openWith, VarveError } from '../../engine/index.js';
import { recordId } from '../../engine/types.js';
import { filesThatSay } from './decoded.js';
import { freshRoot } from './root.js';
import type { SimCluster } from './sim-cluster.js';

/** What each node says now, of some of the ids that anybody ever heard of. */
export function look(cluster: SimCluster, step: number): void {
  const known = cluster.ledger.attempts.filter(({ id }) => id !== undefined);
  for (const member of cluster.members) {
    const { running } = member;
    if (running === undefined) continue;
    for (let n = 0; n < 10 && known.length > 0; n++) {
      const { id } = cluster.random.pick(known);
      const content = contentOf(running.db, id!);
      if (content !== undefined) cluster.ledger.seen(id!, content, `${member.url} at step ${step}`);
    }
  }
}

export function isHealed(cluster: SimCluster): boolean {
  return cluster.shards().every((shard) => {
    const [owner] = cluster.owners(shard);
    const seq = owner?.running?.db.replica(shard).visibleSeq;
    return (
      cluster.owners(shard).length === 1 &&
      cluster.members.every(({ hurt }) => !hurt) &&
      cluster.members.every(({ running }) => {
        const replica = running?.db.replica(shard);
        return replica !== undefined && replica.visibleSeq === seq && replica.unreadable === undefined && replica.gaps.length === 0;
      })
    );
  });
}

export function describeCluster(cluster: SimCluster): string {
  return cluster.members
    .map(({ url, running, told }) => {
      const shards = cluster.shards().map((shard) => {
        const replica = running?.db.replica(shard);
        if (replica === undefined) return `shard ${shard}: down`;
        const { role, epoch, visibleSeq, promised, unreadable, gaps, erasedThrough } = replica;
        const { decision, source } = running!.replicator.status(shard);
        return `shard ${shard}: ${JSON.stringify({ role, epoch, visibleSeq, promised, unreadable, gaps, erasedThrough, decision, error: source?.lastError })}`;
      });
      const jobs =
        running?.db
          .jobs()
          .slice(0, 3)
          .map(({ kind, state, error }) => JSON.stringify({ kind, state, error })) ?? [];
      return [url, ...shards, ...jobs, ...told.slice(-4)].join('\n  ');
    })
    .join('\n');
}

export async function compareCopies(cluster: SimCluster): Promise<void> {
  const present = new Map<string, string>();
  for (const shard of cluster.shards()) {
    const histories: string[] = [];
    for (const { url, running } of cluster.members) {
      const { db } = running!;
      const replica = db.replica(shard);
      const root = await cluster.waitFor(replica.rootAt(replica.visibleSeq));
      const fresh = await freshRoot(db, shard, replica.visibleSeq, replica.epochs());
      assert.deepEqual({ root: root.root, entries: root.entries }, fresh, `root of shard ${shard} at ${url}, and a fresh build`);
      histories.push(JSON.stringify({ root, epochs: replica.epochs() }));
      for (const { firstSeq, lastSeq } of replica.epochs()) {
        for (let seq = firstSeq; seq <= lastSeq; seq++) {
          const id = recordId(shard, seq);
          const content = contentOf(db, id);
          if (content === undefined) continue;
          cluster.ledger.seen(id, content, url);
          present.set(id, content);
        }
      }
    }
    assert.equal(new Set(histories).size, 1, `copies of shard ${shard} differ:\n${histories.join('\n')}`);
  }
  for (const member of cluster.members) cluster.keepAside(member);
  cluster.stats.setAside = cluster.aside.size;
  cluster.ledger.settle(present, cluster.aside);
}

/** No file of any copy says it, packed or not, in the log or set aside. */
export async function checkErased(cluster: SimCluster, erased: readonly string[]): Promise<void> {
  cluster.stats.erased = erased.length;
  const isErased = () =>
    cluster.members.every(({ running }) =>
      cluster.shards().every((shard) => {
        const { db } = running!;
        const owner = cluster.owners(shard)[0]?.running?.db.replica(shard);
        return (
          db.replica(shard).erasedThrough >= (owner?.erasedThrough ?? 0) &&
          !db.jobs().some(({ state }) => state === 'queued' || state === 'running')
        );
      }),
    );
  await cluster.network.until('every copy has erased what it must', isErased, 120_000, 100).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}:\n${describeCluster(cluster)}`, { cause: error });
  });
  for (const { url, platform } of cluster.members) {
    for (const body of new Set(erased)) assert.deepEqual(filesThatSay(platform, body), [], `${url} still has an erased body`);
  }
}

/** Undefined where there is no such record, or none of ours, or retention dropped it, or this copy does not answer now. */
function contentOf(db: Awaited<ReturnType<typeof openWith>>, id: string): string | undefined {
  try {
    const body = db.record(id)?.body;
    return typeof body === 'string' && body.startsWith('content') ? body : undefined;
  } catch (error) {
    if (error instanceof VarveError) return undefined;
    throw error;
  }
}
