/** A small share of `node dist/tools/faults/copies.js`: three real servers under load, and what happens to servers. The story is told where it fails. */
import { expect, test } from 'vitest';
import { partition } from '../../tools/faults/copies/partition.js';
import { rotOf } from '../../tools/faults/copies/rot.js';
import { promote, wipe } from '../../tools/faults/copies/scenarios.js';
import { Story } from '../../tools/faults/copies/story.js';
import type { Scenario } from '../../tools/faults/copies.js';

const seed = Number(process.env['SEED'] ?? 1);
const TIMEOUT_MS = 240_000;

async function play(scenario: Scenario) {
  const lines: string[] = [];
  const story = new Story((line) => lines.push(line));
  try {
    return { kept: await scenario({ story, seed, writers: 3 }), told: lines.join('') };
  } catch (error) {
    throw new Error(`seed ${seed}: ${String(error)}\n${lines.join('')}`, { cause: error });
  }
}

test('a wiped node comes back by its own command line, the one that began the database too', { timeout: TIMEOUT_MS }, async () => {
  const { kept } = await play(wipe);
  expect(kept!.quorum).toBeGreaterThan(30);
});

test('flipped bits are found and mended under load, and who cannot know who it is says so', { timeout: TIMEOUT_MS }, async () => {
  const { kept } = await play(
    rotOf([
      { kind: 'sealed segment, body', who: 'follower', isRunning: true },
      { kind: 'node.json', who: 'follower', isRunning: false },
    ]),
  );
  expect(kept!.quorum).toBeGreaterThan(30);
});

test('what one wrote alone is set aside: behind a cut network, or, where namespaces are not allowed, alone after a crash', {
  timeout: TIMEOUT_MS,
}, async () => {
  const { kept, told } = await play(partition);
  if (kept === undefined) {
    process.stdout.write(told);
    expect(told).toContain('partition: skipped');
  }
  const { quorum, aside } = kept ?? (await play(promote)).kept!;
  expect(quorum).toBeGreaterThan(30);
  expect(aside).toBeGreaterThan(0);
});
