/**
 * A peer's tree at one seq, as a side of a walk: the root it names, and nodes below it, asked for in batches.
 * What it sends is bytes from a stranger: lengths are capped here, hashes are checked by the walk.
 */
import type { Clock } from '../engine/copying.js';
import { isSeq } from './checks.js';
import { askJson, isRecord } from './peer-json.js';
import { PeerError, type Transport } from './transport.js';
import { MAX_NODES_A_QUESTION, readNodes } from './tree-service.js';
import type { NodeRef, TreeSide } from './tree-walk.js';

export interface PeerPlace {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly url: string;
  readonly shard: number;
  /** 32 hex digits. */
  readonly databaseId: string;
}

/** Its root at exactly the seq asked for, or where it stands instead. */
export type PeerRoot =
  | { readonly kind: 'root'; readonly root: string; readonly entries: number; readonly compactedThrough: number }
  /** Its tree is beyond it. */
  | { readonly kind: 'passed'; readonly seq: number }
  /** It has not got that far. */
  | { readonly kind: 'behind'; readonly seq: number };

const TIMEOUT_MS = 10_000;
const HASH = /^[0-9a-f]{64}$/;

/** Throws PeerError for no answer and for one that is none, such as one from another database. */
export async function askRoot(peer: PeerPlace, seq: number, signal?: AbortSignal): Promise<PeerRoot> {
  const path = `/replication/v1/shards/${peer.shard}/root?seq=${seq}`;
  const { status, headers, json } = await askJson(peer.transport, peer.url, {
    method: 'GET',
    path,
    timeoutMs: TIMEOUT_MS,
    ...signalOf(signal),
  });
  mustBeOurs(peer, headers);
  const body = isRecord(json) ? json : {};
  const { root, entries, compactedThrough, error, seq: theirs } = body;
  if (status === 409 && (error === 'passed' || error === 'behind') && isSeq(theirs)) return { kind: error, seq: theirs };
  if (status !== 200) throw new PeerError(peer.url, `it does not tell its root: ${status}`, status >= 500);
  if (typeof root !== 'string' || !HASH.test(root) || !isSeq(entries) || !isSeq(compactedThrough) || theirs !== seq)
    throw new PeerError(peer.url, 'its root is malformed', false);
  return { kind: 'root', root, entries, compactedThrough };
}

/** The side of a peer that has named this root at this seq. */
export function peerSide(peer: PeerPlace, seq: number, root: string, entries: number, signal?: AbortSignal): TreeSide {
  return {
    name: peer.url,
    isOurs: false,
    root: Buffer.from(root, 'hex'),
    entries,
    async read(refs) {
      const nodes: (Uint8Array | undefined)[] = [];
      for (let from = 0; from < refs.length; from += MAX_NODES_A_QUESTION)
        nodes.push(...(await askNodes(peer, seq, refs.slice(from, from + MAX_NODES_A_QUESTION), signal)));
      return nodes;
    },
  };
}

async function askNodes(
  peer: PeerPlace,
  seq: number,
  refs: readonly NodeRef[],
  signal: AbortSignal | undefined,
): Promise<(Uint8Array | undefined)[]> {
  const { status, headers, body } = await peer.transport.request(peer.url, {
    method: 'POST',
    path: `/replication/v1/shards/${peer.shard}/nodes`,
    json: { seq, at: refs.map(({ path }) => path) },
    timeoutMs: TIMEOUT_MS,
    ...signalOf(signal),
  });
  mustBeOurs(peer, headers);
  const nodes = await readNodes(body, refs.length);
  if (status === 409) throw new PeerError(peer.url, 'its tree of that seq is gone', true);
  if (status !== 200) throw new PeerError(peer.url, `it does not tell nodes of its tree: ${status}`, status >= 500);
  if (nodes === undefined) throw new PeerError(peer.url, 'its nodes are malformed', false);
  return nodes;
}

function mustBeOurs(peer: PeerPlace, headers: Readonly<Record<string, string>>): void {
  if (headers['varve-database'] !== peer.databaseId) throw new PeerError(peer.url, 'it holds another database', false);
}

function signalOf(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
