/** All operations, described. */
import { entityDescriptions } from './entities.js';
import { feedDescriptions } from './feeds.js';
import { keepDescriptions } from './keep.js';
import { operateDescriptions } from './operate.js';
import type { Descriptions } from './operation.js';
import { collectionDescriptions, recordDescriptions } from './records.js';
import { replicationDescriptions } from './replication.js';
import { shardDescriptions } from './shards.js';

export const DESCRIPTIONS: Descriptions = {
  ...entityDescriptions,
  ...recordDescriptions,
  ...feedDescriptions,
  ...collectionDescriptions,
  ...keepDescriptions,
  ...shardDescriptions,
  ...replicationDescriptions,
  ...operateDescriptions,
};
