/**
 * What must be so at the end, whatever was done: equal roots, equal feeds, every acknowledged record under its id with its bytes, what one owner
 * wrote alone there or set aside, nothing twice, no half batches, and directories that `varve verify` and `varve check` find sound.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { recordId } from '../../../engine/index.js';
import { segmentFileBatches } from '../../../engine/inspect.js';
import { BrokenPromise, mustBe } from './broken.js';
import { type CopyNode, until, varve } from './node.js';
import type { Trio } from './trio.js';
import { type Attempt, bodyOf, COLLECTION } from './writers.js';

export interface Kept {
  /** Records that a quorum had acknowledged, each of them found. */
  quorum: number;
  /** Records that only the owner had acknowledged: found in the log. */
  local: number;
  /** Of those: found in what a rewind set aside. */
  aside: number;
  /** On a disk that was wiped, before anybody else had them. */
  excused: number;
  /** Never acknowledged, and there as a whole. */
  unasked: number;
}

export interface Excuses {
  /** Another node took over without the old owner: what that one had acknowledged alone may be set aside. */
  readonly mayBeAside: boolean;
  /** The owner's disk was wiped. */
  readonly mayBeLost: boolean;
}

interface Found {
  readonly id: string;
  readonly key: string;
  readonly body: { readonly token: string; readonly pad: string };
}

/** Ends the load and the nodes. */
export async function holdToPromises(trio: Trio, excuses: Excuses): Promise<Kept> {
  const { load, nodes, story } = trio;
  await load!.stop();
  await trio.settled();
  const root = await oneRoot(nodes);
  story.tell('', `all three have root ${root.root.slice(0, 16)}… at seq ${root.seq}`);
  const feeds = await Promise.all(nodes.map(readFeed));
  for (const [n, feed] of feeds.entries())
    mustBe(
      feed.text === feeds[0]!.text,
      () => `${nodes[n]!.name} and ${nodes[0]!.name} tell different feeds (${difference(feeds[0]!.text, feed.text)})`,
    );
  const byId = feeds[0]!.found;
  const kept = compare(load!.ledger, byId, setAside(nodes), excuses);
  story.tell(
    '',
    `${kept.quorum} records acknowledged by a quorum: all there, under their ids, byte for byte; ${kept.local} by the owner alone: there` +
      (kept.aside > 0 ? `, and ${kept.aside} set aside` : '') +
      (kept.excused > 0 ? `, and ${kept.excused} gone with the owner's disk` : ''),
  );
  for (const node of nodes) {
    const { code, output } = await varve(['verify', '--deep', '--url', node.clientUrl], node.place.token);
    mustBe(code === 0, () => `varve verify --deep on ${node.name} says (${code}):\n${output}`);
  }
  for (const node of nodes) {
    const code = await node.stop();
    mustBe(code === 0, () => `${node.name} ended with ${code} when asked to stop`);
  }
  for (const node of nodes) {
    const { code, output } = await varve(['check', node.directory]);
    mustBe(code === 0, () => `varve check ${node.directory} says (${code}):\n${output}`);
  }
  story.tell('', 'varve verify --deep and varve check find all three sound');
  return kept;
}

export async function oneRoot(nodes: readonly CopyNode[]): Promise<{ seq: number; root: string }> {
  let roots: ({ seq: number; root: string } | undefined)[] = [];
  try {
    await until('all have one root', async () => {
      roots = await Promise.all(nodes.map((node) => node.json<{ seq: number; root: string }>('/v1/shards/1/root')));
      return roots.every((each) => each !== undefined && each.root === roots[0]?.root && each.seq === roots[0].seq);
    });
  } catch {
    throw new BrokenPromise(`roots differ: ${nodes.map(({ name }, n) => `${name} ${JSON.stringify(roots[n])}`).join(', ')}`);
  }
  return roots[0]!;
}

interface Feed {
  readonly text: string;
  readonly found: Map<string, Found>;
}

/** All that a node tells, without its cursors. */
async function readFeed(node: CopyNode): Promise<Feed> {
  const found = new Map<string, Found>();
  const lines: string[] = [];
  let after = '';
  for (;;) {
    const { status, text } = await node.ask('GET', `/v1/changes?collection=${COLLECTION}&live=false${after}`);
    mustBe(status === 200, () => `the feed of ${node.name} answered ${status} ${text.slice(0, 300)}`);
    let more: string | undefined;
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const { cursor, ...record } = JSON.parse(line) as { cursor?: string; done?: boolean; more?: boolean; id?: string } & Partial<Found>;
      if (record.done === true && record.more === true) more = cursor;
      if (record.id === undefined) continue;
      lines.push(JSON.stringify(record));
      found.set(record.id, record as Found);
    }
    if (more === undefined) return { text: lines.join('\n'), found };
    after = `&after=${encodeURIComponent(more)}`;
  }
}

function difference(one: string, other: string): string {
  const [these, those] = [one.split('\n'), other.split('\n')];
  const at = these.findIndex((line, n) => line !== those[n]);
  return `${these.length} and ${those.length} records; from the ${at + 1}th: ${these[at]?.slice(0, 120)} / ${those[at]?.slice(0, 120)}`;
}

/** Id and body of what rewinds took out, on any node. */
function setAside(nodes: readonly CopyNode[]): Map<string, Found[]> {
  const found = new Map<string, Found[]>();
  for (const node of nodes) {
    const directory = path.join(node.directory, 'shards/0001/aside');
    if (!existsSync(directory)) continue;
    for (const name of readdirSync(directory)) {
      if (!name.endsWith('.seg')) continue;
      for (const { shard, batch } of segmentFileBatches(directory, name)) {
        for (const { seq, collectionText, keyText, bodyText } of batch.records) {
          if (collectionText !== COLLECTION) continue;
          const id = recordId(shard, seq);
          const all = found.get(id) ?? [];
          all.push({ id, key: keyText, body: JSON.parse(bodyText) as Found['body'] });
          found.set(id, all);
        }
      }
    }
  }
  return found;
}

function compare(ledger: readonly Attempt[], byId: Map<string, Found>, aside: Map<string, Found[]>, excuses: Excuses): Kept {
  const kept: Kept = { quorum: 0, local: 0, aside: 0, excused: 0, unasked: 0 };
  const byToken = new Map<string, Found>();
  for (const found of byId.values()) {
    const before = byToken.get(found.body.token);
    mustBe(before === undefined, () => `${found.body.token} is there twice: ${before?.id} and ${found.id}`);
    byToken.set(found.body.token, found);
  }
  for (const attempt of ledger) {
    const { items, acknowledged } = attempt;
    for (const [n, item] of items.entries()) {
      const isIt = (found: Found | undefined): boolean =>
        found !== undefined && found.key === item.key && JSON.stringify(found.body) === JSON.stringify(bodyOf(item, attempt.pad));
      for (const { ids, acks } of acknowledged) {
        const id = ids[n]!;
        if (isIt(byId.get(id))) kept[acks]++;
        else if (acks === 'quorum')
          throw new BrokenPromise(`${id} (${item.token}), acknowledged by a quorum, is ${describe(byId.get(id))}`);
        else if (excuses.mayBeAside && aside.get(id)?.some(isIt)) kept.aside++;
        else if (excuses.mayBeLost) kept.excused++;
        else throw new BrokenPromise(`${id} (${item.token}), acknowledged by the owner, is ${describe(byId.get(id))}, and not set aside`);
      }
    }
    const there = items.filter(({ token }) => byToken.has(token)).length;
    mustBe(there === 0 || there === items.length, () => `half a batch: ${there} of ${items.length} of ${attempt.idempotencyKey}`);
    if (acknowledged.length === 0) kept.unasked += there;
    for (const { token } of items) byToken.delete(token);
  }
  mustBe(byToken.size === 0, () => `records that nobody sent: ${[...byToken.keys()].slice(0, 5).join(', ')}`);
  return kept;
}

function describe(found: Found | undefined): string {
  return found === undefined ? 'not there' : `something else: ${JSON.stringify(found).slice(0, 200)}`;
}
