/**
 * Every bit of every file of a small closed database, then of the segments of the same one compacted and packed, by hand:
 *
 *   npx tsx tools/faults/bit-flips.ts [--file TEXT]
 */
import { parseArgs } from 'node:util';

interface Subject {
  readonly machine: { fileList(): { path: string; size: number }[] };
}

const { values } = parseArgs({ options: { file: { type: 'string' } } });

// Tests are not part of the build: found at run time, beside the sources.
const { flipAndAsk, makeSubject } = (await import(new URL('../../test/support/bit-flips.ts', import.meta.url).href)) as {
  makeSubject(packed?: boolean): Promise<Subject>;
  flipAndAsk(subject: Subject, path: string, bit: number): Promise<'right' | 'refused'>;
};

const whole = await makeSubject();
const packed = await makeSubject(true);
const isPacked = ({ path }: { path: string }) => path.endsWith('.seg') && !path.endsWith('-0000.seg');
const files = [
  ...whole.machine.fileList().map((file) => ({ ...file, subject: whole })),
  ...packed.machine
    .fileList()
    .filter(isPacked)
    .map((file) => ({ ...file, subject: packed })),
];
let wrong = 0;
for (const { path, size, subject } of files) {
  if (!path.includes(values.file ?? '')) continue;
  const verdicts = { right: 0, refused: 0, wrong: 0 };
  for (let bit = 0; bit < size * 8; bit++) {
    try {
      verdicts[await flipAndAsk(subject, path, bit)]++;
    } catch (error) {
      verdicts.wrong++;
      wrong++;
      if (wrong <= 20) process.stdout.write(`WRONG ${error instanceof Error ? error.message.slice(0, 500) : String(error)}\n`);
    }
  }
  process.stdout.write(`${path}, ${size} bytes: ${JSON.stringify(verdicts)}\n`);
}
process.exitCode = wrong > 0 ? 1 : 0;
