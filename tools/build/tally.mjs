/**
 * Prints `N passed, N failed` from vitest's JSON report (`node tools/build/tally.mjs REPORT`): the line CI reads.
 * A test file that fails outside its tests (it does not load, a hook throws) counts as one failure. Exits with 1 unless all passed;
 * without a report there is nothing to count, and it says so instead.
 */
import { readFileSync } from 'node:fs';

let report;
try {
  report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
} catch {
  process.stdout.write('The run ended before the tests did: nothing to count.\n');
  process.exit(1);
}
const brokenFiles = report.testResults.filter(
  (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
);
const failed = report.numFailedTests + brokenFiles.length;
process.stdout.write(`${report.numPassedTests} passed, ${failed} failed\n`);
process.exitCode = report.success && failed === 0 ? 0 : 1;
