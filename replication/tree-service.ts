/**
 * The other end of a comparison: answers a peer that asks for the root at a seq, and then for nodes below it.
 *
 *   root?seq=S  -> the tree of exactly S is held still for a minute      nodes {seq, at} -> u32 length, hashed bytes, for each path
 *
 * Invariants: what a peer asks for is checked before it is looked up, nothing it says is an address of anything on the disk, and how much one
 * question can cost is capped.
 */
import { type Clock, type HeldTree, MAX_NODE_BYTES } from '../engine/copying.js';
import { type Database, isVarveError, type Seq } from '../engine/index.js';
import { isSeq } from './checks.js';
import { isRecord } from './peer-json.js';
import { knownQuery, type PeerHandlers, PeerRefusal, queryNumber } from './peer-service.js';
import type { PeerAnswer } from './transport.js';

export const MAX_NODES_A_QUESTION = 512;
export const NODES_TYPE = 'application/vnd.varve.nodes';
const MAX_DEPTH = 60;
const MAX_CHILD = 0xffff;
/** For a seq that is not visible here yet. */
const WAIT_MS = 3000;

/** The part of a database that is compared. */
export type ComparedDatabase = Pick<Database, 'databaseId' | 'replica' | 'verifiable'>;

export function treeHandlers(db: ComparedDatabase, clock: Clock): PeerHandlers {
  return {
    'GET /shards/:shard/root': (call, { shard }) => {
      knownQuery(call, ['seq']);
      return answerRoot(db, clock, shard, queryNumber(call, 'seq'));
    },
    'POST /shards/:shard/nodes': (call, { shard }) => answerNodes(db, shard, call.json),
  };
}

async function answerRoot(db: ComparedDatabase, clock: Clock, shard: number, seq: number): Promise<PeerAnswer> {
  if (!isSeq(seq)) throw new PeerRefusal(400, 'invalid', 'seq: a position in a log', { path: 'seq' });
  try {
    const tree = await inTime(clock, db.verifiable(shard).lendTree(seq as Seq));
    const { visibleSeq, compactedThrough } = db.replica(shard);
    if (tree === undefined) throw new PeerRefusal(409, 'behind', 'This copy has not come that far.', { seq: visibleSeq });
    return { status: 200, json: { seq, root: tree.root, entries: tree.entries, compactedThrough } };
  } catch (error) {
    if (!isVarveError(error, 'PASSED')) throw error;
    throw new PeerRefusal(409, 'passed', 'The tree is beyond that seq.', { seq: error.details.seq });
  }
}

function answerNodes(db: ComparedDatabase, shard: number, json: unknown): PeerAnswer {
  const asked = readQuestion(json);
  if (asked === undefined) throw new PeerRefusal(400, 'invalid', `seq, and at: up to ${MAX_NODES_A_QUESTION} paths`, { path: 'at' });
  const tree = db.verifiable(shard).lentTree(asked.seq as Seq);
  if (tree === undefined)
    throw new PeerRefusal(409, 'passed', 'The tree of that seq is held no more.', { seq: db.replica(shard).visibleSeq });
  const parts: Uint8Array[] = [];
  for (const path of asked.at) {
    const node = tree.node(path) ?? new Uint8Array(0);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, node.length, true);
    parts.push(length, node);
  }
  return { status: 200, headers: { 'Content-Type': NODES_TYPE }, stream: oneByOne(parts) };
}

/** Undefined for what no peer of ours asks. */
function readQuestion(json: unknown): { readonly seq: number; readonly at: readonly (readonly number[])[] } | undefined {
  if (!isRecord(json)) return undefined;
  const { seq, at } = json;
  if (!isSeq(seq) || !Array.isArray(at) || at.length > MAX_NODES_A_QUESTION) return undefined;
  for (const path of at as unknown[]) {
    if (!Array.isArray(path) || path.length > MAX_DEPTH || !path.every(isChild)) return undefined;
  }
  return { seq, at: at as number[][] };
}

function isChild(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_CHILD;
}

/** Reads the answer to so many paths; undefined where it is not one. */
export async function readNodes(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  count: number,
): Promise<(Uint8Array | undefined)[] | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > count * (MAX_NODE_BYTES + 4)) return undefined;
    parts.push(part);
  }
  const all = Buffer.concat(parts);
  const nodes: (Uint8Array | undefined)[] = [];
  let at = 0;
  while (nodes.length < count) {
    if (at + 4 > all.length) return undefined;
    const length = all.readUInt32LE(at);
    if (length > MAX_NODE_BYTES || at + 4 + length > all.length) return undefined;
    nodes.push(length === 0 ? undefined : all.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return at === all.length ? nodes : undefined;
}

/** Undefined where it takes too long: what was asked for may still come, and is found by who asks again. */
async function inTime(clock: Clock, tree: Promise<HeldTree>): Promise<HeldTree | undefined> {
  let stop = (): void => undefined;
  const late = new Promise<undefined>((resolve) => {
    stop = clock.after(WAIT_MS, () => resolve(undefined));
  });
  tree.catch(() => undefined);
  return Promise.race([tree, late]).finally(() => stop());
}

async function* oneByOne(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* parts;
}
