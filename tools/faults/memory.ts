/**
 * Loads versions through the library and prints the peak of resident memory, which must stay under 700 MB:
 *
 *   npx tsx tools/faults/memory.ts [--versions 5000000] [--entities 1000000] [--dir DIR]
 *
 * Run it on a build for figures that mean something: `node dist/tools/faults/memory.js`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { open } from '../../engine/index.js';

const LIMIT_MB = 700;
const BATCH = 1000;

const { values } = parseArgs({
  options: { versions: { type: 'string', default: '5000000' }, entities: { type: 'string', default: '1000000' }, dir: { type: 'string' } },
});
const versions = Number(values.versions);
const entities = Number(values.entities);
const directory = mkdtempSync(path.join(values.dir ?? tmpdir(), 'varve-memory-'));

function residentMb(name: 'VmHWM' | 'VmRSS'): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
}

/** About 240 bytes of JSON, as the benchmark's bodies. */
function body(n: number) {
  const name = `name ${n % 9973} ${(n * 7919) % 104_729}`;
  return {
    id: n,
    name,
    email: `${name.replaceAll(' ', '.')}@example.com`,
    address: { street: `${n % 200} Main Street`, city: 'Lisbon', zip: '10000' },
    balance: n / 100,
    active: n % 3 === 0,
    note: 'n'.repeat(60),
  };
}

const start = performance.now();
let db = await open(directory);
let state = 1;
for (let done = 0; done < versions; done += BATCH) {
  const items = Array.from({ length: Math.min(BATCH, versions - done) }, (_, i) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return { collection: 'load', key: `customer/${String(state % entities).padStart(8, '0')}`, body: body(done + i) };
  });
  await db.insert(items);
  if ((done / BATCH) % 250 === 249) {
    const rate = Math.round((done + BATCH) / ((performance.now() - start) / 1000));
    process.stdout.write(`${done + BATCH} versions, ${rate}/s, RSS ${residentMb('VmRSS')} MB, peak ${residentMb('VmHWM')} MB\n`);
  }
}
const closing = performance.now();
await db.close();
const opening = performance.now();
db = await open(directory);
db.now().list('load', { limit: 1 });
const opened = performance.now();
await db.close();
process.stdout.write(`close ${Math.round(opening - closing)} ms, open to first read ${Math.round(opened - opening)} ms\n`);
rmSync(directory, { recursive: true });
const peak = residentMb('VmHWM');
process.stdout.write(`peak RSS ${peak} MB of ${LIMIT_MB}\n`);
process.exitCode = peak < LIMIT_MB ? 0 : 1;
