/** What a closed database's last event costs to find. */
import { describe, expect, it } from 'vitest';
import { isGap, ShardLog } from '../../engine/log/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { DIRECTORY, Ledger, logOptions } from './support.js';

const SEGMENT_BYTES = 1 << 20;

/** A log of `groups`, closed, and opened again. */
async function reopened(groups: readonly (readonly number[])[]): Promise<{ platform: MemoryPlatform; log: ShardLog; ledger: Ledger }> {
  const platform = new MemoryPlatform({ seed: 1 });
  const ledger = new Ledger();
  const log = await ShardLog.open(logOptions(platform, { segmentBytes: SEGMENT_BYTES }));
  for (const sizes of groups) await ledger.append(log, sizes);
  await log.close();
  return { platform, log: await ShardLog.open(logOptions(platform, { segmentBytes: SEGMENT_BYTES })), ledger };
}

function seqsFrom(log: ShardLog, seq: number): number[] {
  return [...log.batches(seq)].map((batch) => (isGap(batch) ? -1 : batch.firstSeq));
}

describe('the last frame of a closed log', () => {
  it('is found without the footer, where it is short', async () => {
    const { log, ledger } = await reopened([[20], [20], [0]]);
    expect(seqsFrom(log, ledger.lastSeq)).toEqual([ledger.lastSeq]);
    expect(log.segmentSet.all[0]?.index).toBeUndefined();
  });

  it('is found by way of the footer where more than it is wanted', async () => {
    const { log, ledger } = await reopened([[20], [20], [0]]);
    expect(seqsFrom(log, 21)).toEqual([21, ledger.lastSeq]);
    expect(log.segmentSet.all[0]?.index).toBeDefined();
  });

  it('is found by way of the footer where it is long', async () => {
    const { log } = await reopened([[20], [20]]);
    expect(seqsFrom(log, 40)).toEqual([21]);
    expect(log.segmentSet.all[0]?.index).toBeDefined();
  });

  it('is a gap where it is bad', async () => {
    const { platform, log, ledger } = await reopened([[20], [0]]);
    const [segment] = log.segmentSet.all;
    platform.flipBit(`${DIRECTORY}/${segment?.name}`, ((segment?.dataEnd ?? 0) - 250) * 8);
    expect(seqsFrom(log, ledger.lastSeq)).toEqual([-1]);
  });
});
