/**
 * Where the time of a CPU profile went: self time by function, most first.
 *
 *   node tools/bench/profile-summary.mjs FILE.cpuprofile [LINES]
 */
import fs from 'node:fs';
import path from 'node:path';

const [file, lines = '25'] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write('usage: node tools/bench/profile-summary.mjs FILE.cpuprofile [LINES]\n');
  process.exit(2);
}
const { nodes, samples, timeDeltas } = JSON.parse(fs.readFileSync(file, 'utf8'));
const byId = new Map(nodes.map((node) => [node.id, node]));
const selfMs = new Map();
let total = 0;
samples.forEach((id, i) => {
  const { functionName, url, lineNumber } = byId.get(id).callFrame;
  const name = `${functionName || '(anonymous)'} ${path.basename(url)}${url ? `:${lineNumber + 1}` : ''}`;
  const ms = timeDeltas[i] / 1000;
  selfMs.set(name, (selfMs.get(name) ?? 0) + ms);
  total += ms;
});
process.stdout.write(`${path.basename(file)}: ${Math.round(total)} ms\n`);
for (const [name, ms] of [...selfMs].sort((a, b) => b[1] - a[1]).slice(0, Number(lines))) {
  process.stdout.write(`${((ms / total) * 100).toFixed(1).padStart(6)} %  ${Math.round(ms).toString().padStart(7)} ms  ${name}\n`);
}
