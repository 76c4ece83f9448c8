/** The log's public face to the rest of the engine. */
export { BlockCache } from './block-cache.js';
export type { LogOptions } from './context.js';
export { LogFailure } from './failure.js';
export { GroupBuilder, type NewBatch, type RawBatches, type SegmentOrigin } from './frame-builder.js';
export type { IdempotentAnswer } from './idempotency.js';
export { isGap, type LogGap } from './replay.js';
export type { ScrubProgress } from './scrub.js';
export type { SeqRange } from './segment-state.js';
export { type AppendedLocation, type SegmentInfo, ShardLog } from './shard-log.js';
export * from './types.js';
