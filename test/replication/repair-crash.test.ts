/** The power goes at every change to the disk that a repair makes: what was readable stays so, and the next repair ends it. */
import { describe, expect, it } from 'vitest';
import { randomChooser } from '../../engine/platform/chooser.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation } from '../../engine/platform/memory-faults.js';
import { Copies } from '../support/copies.js';
import { contents, OPTIONS, segmentsOf, subject, verify } from './mending.js';

const damages: readonly [string, (machine: MemoryPlatform) => void][] = [
  ['a bad frame', (machine) => machine.flipBit(segmentsOf(machine)[2]!, 8 * 1500)],
  ['a missing file', (machine) => machine.files.remove(segmentsOf(machine)[2]!)],
  ['a bad footer', (machine) => machine.flipBit(segmentsOf(machine)[2]!, 8 * (machine.contents(segmentsOf(machine)[2]!).length - 100))],
];

describe('a repair that the power cuts', () => {
  it.each(damages)('leaves the old or the new of %s', { timeout: 120_000 }, async (_name, damage) => {
    const made = await subject();
    const copies = new Copies();
    const owner = await copies.add('http://owner', made.clone({ seed: 5 }), OPTIONS);
    const expected = await contents(owner.db);
    damage(made);
    const repair = async (machine: MemoryPlatform) => {
      const hurt = await copies.add('http://hurt', machine, OPTIONS);
      await hurt.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
      return { hurt, verifier: copies.verifier(hurt, owner.url, { peers: [owner.url] }) };
    };
    // Which operations there are.
    const traced = made.clone({ trace: true });
    const whole = await repair(traced);
    const begins = traced.ops;
    const { gaps } = whole.hurt.db.replica(1);
    expect(await verify(whole.verifier, whole.hurt)).toMatchObject({ unrepairable: 0 });
    const cuts = traced.trace.filter((operation) => operation.index >= begins && isMutation(operation)).map(({ index }) => index - begins);
    await whole.hurt.db.close();
    expect(cuts.length).toBeGreaterThan(4);
    for (const cut of cuts) {
      const machine = made.clone({ seed: 7 });
      const { hurt, verifier } = await repair(machine);
      machine.crashAt(machine.ops + cut);
      await hurt.db.jobEnded(verifier.verify({ deep: true, repair: true }).id);
      const where = `the power went ${cut} operations into the repair`;
      const after = await repair(machine.crash(randomChooser(cut + 1)));
      // Nothing is worse than before it.
      expect([gaps, []], where).toContainEqual(after.hurt.db.replica(1).gaps);
      expect(await verify(after.verifier, after.hurt), where).toMatchObject({ unrepairable: 0 });
      expect(await contents(after.hurt.db), where).toEqual(expected);
      expect(
        after.hurt.machine.fileList().filter(({ path }) => path.endsWith('.tmp')),
        where,
      ).toEqual([]);
      await after.hurt.db.close();
    }
    await owner.db.close();
  });
});
