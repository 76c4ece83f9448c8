/**
 * The fuzzers of test/fuzz for as long as is given, turn by turn:
 *
 *   npx tsx tools/fuzz/run.ts [--seconds 60] [--only json,http] [--seed N]
 *
 * Whatever comes in must become a value or a typed error. What does not is shrunk and printed with its seed; exit code 1 then.
 */
import { parseArgs } from 'node:util';

interface Target {
  readonly name: string;
  readonly about: string;
}
interface Fuzzers {
  readonly TARGETS: readonly Target[];
  fuzz(target: Target, milliseconds: number, seed: number): Promise<{ runs: number; failure: string | undefined }>;
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    only: { type: 'string' },
    seed: { type: 'string' },
  },
});

// Tests are not part of the build: found at run time, beside the sources.
const { TARGETS, fuzz } = (await import(new URL('../../test/fuzz/targets.ts', import.meta.url).href)) as Fuzzers;

const wanted = values.only?.split(',');
const chosen = TARGETS.filter(({ name }) => wanted === undefined || wanted.includes(name));
const unknown = (wanted ?? []).filter((name) => !TARGETS.some((target) => target.name === name));
const seconds = Number(values.seconds);
if (unknown.length > 0 || !(seconds > 0)) {
  process.stderr.write(`usage: run.ts [--seconds N] [--only ${TARGETS.map(({ name }) => name).join(',')}] [--seed N]\n`);
  process.exit(2);
}

/** A turn; many short ones, so that a run that is cut short has been everywhere. */
const TURN_MS = 10_000;
const deadline = performance.now() + seconds * 1000;
const totals = new Map<string, number>();
let seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
let failed = false;
for (; performance.now() < deadline && !failed; seed++) {
  const turn = Math.min(TURN_MS, Math.max(100, (deadline - performance.now()) / chosen.length));
  for (const target of chosen) {
    const { runs, failure } = await fuzz(target, turn, seed);
    totals.set(target.name, (totals.get(target.name) ?? 0) + runs);
    if (failure === undefined) continue;
    failed = true;
    process.stdout.write(
      `${target.name} failed; to see it again: --only ${target.name} --seed ${seed} --seconds ${Math.ceil(turn / 1000)}\n${failure}\n`,
    );
  }
}
for (const { name, about } of chosen)
  process.stdout.write(`${name.padEnd(8)} ${String(totals.get(name) ?? 0).padStart(9)} inputs   ${about}\n`);
process.exitCode = failed ? 1 : 0;
