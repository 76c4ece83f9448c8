/** Which collections there are, and how much is in them: summed over the shards. Nothing is kept here. */
import type { CollectionInfo } from './database.js';
import { isSystemCollection } from './format/keys.js';
import type { Placements } from './placements.js';
import type { Shard } from './shard.js';

/** In order of their names; those that were only placed included. */
export async function listCollections(shards: readonly Shard[], placements: Placements): Promise<CollectionInfo[]> {
  const infos = new Map<string, { entities: number; versions: number }>();
  for (const name of placements.names()) infos.set(name, { entities: 0, versions: 0 });
  for (const shard of shards) {
    for (const [name, { alive, versions }] of await shard.counts()) {
      if (isSystemCollection(name) && shard.id !== 1) continue; // every shard has a copy
      const info = infos.get(name) ?? { entities: 0, versions: 0 };
      info.entities += alive;
      info.versions += versions;
      infos.set(name, info);
    }
  }
  return [...infos].map(([name, info]) => ({ name, placement: placements.of(name), ...info })).sort((a, b) => (a.name < b.name ? -1 : 1));
}
