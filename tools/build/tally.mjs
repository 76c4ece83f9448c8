/**
 * Prints `N passed, N failed` from vitest's JSON report (`node tools/build/tally.mjs REPORT STATUS`): the line CI reads.
 * A test file that fails outside its tests (it does not load, a hook throws) counts as one failure, and so does a run that ended badly
 * though no test did (STATUS, vitest's exit code, is not 0). Without a report there is nothing to count, and it says so instead.
 * Exits with 1 unless all passed.
 */
import { readFileSync } from 'node:fs';

const [path, status] = process.argv.slice(2);

let report;
try {
  report = JSON.parse(readFileSync(path, 'utf8'));
} catch {
  process.stdout.write('The run ended before the tests did: nothing to count.\n');
  process.exit(1);
}
const brokenFiles = report.testResults.filter(
  (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
);
const inTests = report.numFailedTests + brokenFiles.length;
const failed = inTests === 0 && status !== '0' ? 1 : inTests;
const skipped = report.numPendingTests + report.numTodoTests;
process.stdout.write(`${report.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
process.exitCode = failed === 0 ? 0 : 1;
