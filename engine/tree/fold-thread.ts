/**
 * The far end of folding: a thread that does one fold after another, for all shards of a database.
 *
 *   request: where the files stand, the old root, a run of versions -> sort, apply, write, sync -> the new root, where they stand now
 *
 * It knows nothing between folds but cached nodes, which never change at their address, and lets go of them when told to; the files are
 * the asker's again once it has answered. If it dies, whatever it wrote is reached by no root that was announced.
 */
import { EntityHash } from '../entity-hash.js';
import type { Platform, ServeThread, ThreadPort } from '../platform/platform.js';
import { SeqSet } from '../retention/seq-set.js';
import type { CopyPlace } from './copy-writer.js';
import { DroppedVersions } from './dropped-versions.js';
import { type FoldAnswer, type FoldRequest, type ReleaseRequest, type ScanRequest, sendError } from './fold-message.js';
import { scanNewest } from './newest-scan.js';
import { rebuildTree } from './rebuild.js';
import { NodeCache, TreeStore } from './tree-store.js';
import { SortedVersions } from './version-run.js';

/** Inner nodes alone: every leaf is read once a fold (node-reader.ts). */
const CACHE_BYTES = 8 * 1024 * 1024;
/** Slices of a fold between two reports: about ten milliseconds. */
const SLICES_A_REPORT = 8;

export const serve: ServeThread = (platform, port) => {
  const cache = new NodeCache(CACHE_BYTES);
  const stores = new Map<string, TreeStore>();
  port.listen((message) => {
    const request = message as FoldRequest | ScanRequest | ReleaseRequest;
    if ('release' in request) {
      stores.get(request.release)?.close();
      stores.delete(request.release);
      return;
    }
    answerTo(platform, port, cache, stores, request).then(
      (answer) => port.post(answer),
      (error: unknown) => port.post({ kind: 'failed', error: sendError(error) } satisfies FoldAnswer),
    );
  });
};

async function answerTo(
  platform: Platform,
  port: ThreadPort,
  cache: NodeCache,
  stores: Map<string, TreeStore>,
  request: FoldRequest | ScanRequest,
): Promise<FoldAnswer> {
  const { directory, shard, databaseId, fileBytes, targetBytes, state } = request;
  let store = stores.get(directory);
  if (store === undefined) {
    store = TreeStore.forFolding({ platform, directory, shard, databaseId, fileBytes, targetBytes, cache });
    stores.set(directory, store);
  }
  store.takeOver(state);
  if ('run' in request)
    return request.anew === undefined ? foldFor(port, store, request) : rebuildFor(platform, port, store, request, request.anew);
  const { scanned, key, from, limit } = request;
  return { kind: 'scanned', ...scanNewest(store.reader, scanned, new EntityHash(key), from, limit) };
}

async function rebuildFor(
  platform: Platform,
  port: ThreadPort,
  store: TreeStore,
  { directory, shard, databaseId, targetBytes, root, run, drops }: FoldRequest,
  place: CopyPlace,
): Promise<FoldAnswer> {
  const task = { ...place, directory, shard, databaseId, targetBytes, root: root! };
  const pause = async (share: number): Promise<void> => port.post({ kind: 'progress', share } satisfies FoldAnswer);
  const { root: made, files, nodes, dropped } = await rebuildTree(platform, task, new SeqSet(drops), new SortedVersions(run), pause);
  return { kind: 'folded', root: made, state: store.handOver(), dropped, made: { files, nodes } };
}

async function foldFor(port: ThreadPort, store: TreeStore, request: FoldRequest): Promise<FoldAnswer> {
  const { run, seq } = request;
  const drops = request.drops && new SeqSet(request.drops);
  const added = new SortedVersions(run);
  const changes = drops === undefined ? added : new DroppedVersions(store.reader, request.root, drops, added);
  const count = run.count + (drops?.size ?? 0);
  let slices = 0;
  const root = await store.fold(request.root, changes, seq, async () => {
    if (++slices % SLICES_A_REPORT === 0) port.post({ kind: 'progress', share: changes.done / count } satisfies FoldAnswer);
  });
  return { kind: 'folded', root, state: store.handOver(), dropped: changes instanceof DroppedVersions ? changes.counts : new Map() };
}
