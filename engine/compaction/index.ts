/** Compaction's public face to the rest of the engine. */
export type { Dropping } from './live-frames.js';
export { type RewriteOptions, type Rewritten, rewriteSegments } from './rewrite.js';
export { type SwapLog, swapSegments } from './swap.js';
