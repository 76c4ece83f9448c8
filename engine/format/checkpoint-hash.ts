/** BLAKE3 of a checkpoint event: chains each checkpoint to the one before it. (docs/FORMAT.md, "Events") */
import type { CheckpointEvent } from '../log/types.js';
import { blake3 } from './hash.js';

const TAG = Buffer.from('vrv:ckpt', 'latin1');

/** Tag, through-seq u64 BE, root, entries u64 BE, hash of the previous checkpoint. */
export function hashCheckpoint(event: CheckpointEvent): Uint8Array {
  const numbers = Buffer.alloc(16);
  numbers.writeUIntBE(event.throughSeq, 2, 6);
  numbers.writeUIntBE(event.entries, 10, 6);
  return blake3(TAG, numbers.subarray(0, 8), event.root, numbers.subarray(8), event.previous);
}
