/**
 * Bits flip, in every kind of file: of a follower and of the owner, while they are stopped and while they run.
 *
 * What is derived or can be fetched comes back by itself, or by `varve scrub` and `varve repair`. Who a node is and what it promised cannot be guessed: it
 * refuses to start, and the step is the one in docs/OPERATIONS.md: put its directory aside, start it again (and promote another before, where it was the owner).
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, renameSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';
import { mustBe } from './broken.js';
import { type CopyNode, until, varve } from './node.js';
import type { Kept } from './promises.js';
import { finish, pick } from './scenarios.js';
import { Trio, type TrioOptions } from './trio.js';

interface Spot {
  readonly file: string;
  readonly from: number;
  readonly to: number;
}

interface Kind {
  /** Where in the directory; undefined where there is no such file yet. */
  find(directory: string, random: () => number): Spot | undefined;
  /** A start refuses it, and an operator mends it. */
  readonly refused?: true;
  /** `varve scrub` on a running node must find it. */
  readonly found?: true;
}

const LOG = 'shards/0001/log';
const HEADER_BYTES = 128;
const TRAILER_BYTES = 64;

export const KINDS: Readonly<Record<string, Kind>> = {
  'sealed segment, body': { found: true, find: (directory, random) => sealed(directory, random, ({ footer }) => [HEADER_BYTES, footer]) },
  'sealed segment, header': { found: true, find: (directory, random) => sealed(directory, random, () => [0, HEADER_BYTES]) },
  'sealed segment, footer': {
    found: true,
    find: (directory, random) => sealed(directory, random, ({ footer, end }) => [footer, end - TRAILER_BYTES]),
  },
  'sealed segment, trailer': {
    found: true,
    find: (directory, random) => sealed(directory, random, ({ end }) => [end - TRAILER_BYTES, end]),
  },
  'open segment': {
    found: true,
    find: (directory) => {
      const name = segments(directory).at(-1);
      if (name === undefined) return undefined;
      const file = path.join(directory, LOG, name);
      // What later frames attest: the very end of a log that was killed may be a torn tail.
      const { size } = statSync(file);
      return size < 8 * 1024 ? undefined : { file, from: HEADER_BYTES, to: Math.floor(size / 2) };
    },
  },
  'tree file': {
    find: (directory) => {
      const name = existsSync(path.join(directory, 'shards/0001/tree'))
        ? readdirSync(path.join(directory, 'shards/0001/tree')).sort().at(-1)
        : undefined;
      if (name === undefined) return undefined;
      const file = path.join(directory, 'shards/0001/tree', name);
      const { size } = statSync(file);
      // The newest nodes, the root among them, stand at the end.
      return { file, from: Math.max(0, size - 2048), to: size };
    },
  },
  'catalog.sqlite': { find: (directory) => whole(path.join(directory, 'catalog.sqlite')) },
  // Empty as long as nothing is wrong.
  'lock.sqlite': { find: (directory) => ({ file: path.join(directory, 'lock.sqlite'), from: 0, to: 100 }) },
  'node.json': { refused: true, find: (directory) => whole(path.join(directory, 'node.json')) },
  'promise.json': { refused: true, find: (directory) => whole(path.join(directory, 'shards/0001/promise.json')) },
};

export interface RotCase {
  readonly kind: string;
  readonly who: 'follower' | 'owner';
  readonly isRunning: boolean;
}

export const ROT_CASES: readonly RotCase[] = Object.keys(KINDS).flatMap((kind) =>
  (['follower', 'owner'] as const).flatMap((who) => [false, true].map((isRunning) => ({ kind, who, isRunning }))),
);

export const rot = (options: TrioOptions): Promise<Kept> => rotOf(ROT_CASES)(options);

export const rotOf =
  (cases: readonly RotCase[]) =>
  async (options: TrioOptions): Promise<Kept> => {
    const trio = await Trio.start(options);
    return finish(trio, async () => {
      // Every node a vote, so that each has promised something.
      await trio.promote(trio.node('b'));
      await trio.settled();
      for (const each of cases) await rotOnce(trio, each);
      return { mayBeAside: true, mayBeLost: cases.some(({ kind, who }) => who === 'owner' && KINDS[kind]?.refused === true) };
    });
  };

async function rotOnce(trio: Trio, { kind, who, isRunning }: RotCase): Promise<void> {
  const { story, random, load } = trio;
  await trio.settled();
  const owner = await trio.owner();
  const node = who === 'owner' ? owner : pick(await trio.followers(), random);
  await until(`${node.name} has a ${kind} to damage`, async () => {
    load!.check();
    return KINDS[kind]!.find(node.directory, random) !== undefined;
  });
  const isRefused = KINDS[kind]!.refused === true;
  if (isRunning) {
    const what = damage(node, kind, random);
    if (what === undefined) return;
    story.tell(node.name, `${who}, running: ${what}`);
    await scrubAndRepair(trio, node, kind);
    await load!.more(5);
    if (!isRefused) return;
    story.tell(node.name, 'stopped and started again');
    await node.stop();
  } else {
    const isKilled = random() < 0.5;
    if (isKilled) await node.kill();
    else await node.stop();
    const what = damage(node, kind, random);
    story.tell(node.name, `${who}, ${isKilled ? 'killed' : 'stopped'}: ${what ?? `no ${kind} any more`}; started again`);
  }
  node.launch();
  if (isRefused && (await refuses(node, kind))) {
    if (who === 'owner') {
      const next = pick(
        trio.nodes.filter((each) => each !== node),
        random,
      );
      story.tell(next.name, 'promoted in its place');
      await trio.promote(next);
    }
    renameSync(node.directory, `${node.directory}.${kind}-${Date.now()}`);
    story.tell(node.name, 'its directory put aside; started with the same command line');
    node.launch();
  }
  await node.ready();
  await load!.more(5);
  await untilClean(node);
}

/** Ends with 1 and names the file; or it has written the file anew while it ran, and starts. */
async function refuses(node: CopyNode, kind: string): Promise<boolean> {
  const code = await Promise.race([
    node.ended(),
    node.ready().then(
      () => undefined,
      () => node.ended(),
    ),
  ]);
  if (code === undefined) return false;
  const said = node.log.map(({ msg, fields }) => `${msg} ${JSON.stringify(fields)}`).join('\n');
  mustBe(code === 1, () => `${node.name} ended with ${code} on a damaged ${kind}`);
  mustBe(said.includes(kind), () => `${node.name} does not name ${kind}:\n${said}`);
  return true;
}

async function scrubAndRepair(trio: Trio, node: CopyNode, kind: string): Promise<void> {
  const { story } = trio;
  const url = ['--url', node.clientUrl];
  const scrubbed = await varve(['scrub', ...url]);
  story.tell(node.name, `  $ varve scrub -> ${scrubbed.code}: ${scrubbed.output.replace(/\n/g, '; ').slice(0, 400)}`);
  // A node that has met it by itself may have mended it by now.
  const isMended = node.log.some(({ msg }) => /was repaired|written anew|built anew/.test(msg));
  if (KINDS[kind]!.found === true)
    mustBe(scrubbed.code === 1 || isMended, () => `varve scrub on ${node.name} finds nothing in a damaged ${kind}`);
  if (scrubbed.code === 0) return;
  const repaired = await varve(['repair', '--deep', ...url]);
  story.tell(node.name, `  $ varve repair --deep -> ${repaired.code}: ${repaired.output.split('\n').at(-1)}`);
  await untilClean(node);
}

/** By itself, within seconds of being met. */
async function untilClean(node: CopyNode): Promise<void> {
  let last = '';
  try {
    await until('a scrub finds nothing', async () => {
      const { code, output } = await varve(['scrub', '--url', node.clientUrl]);
      last = output;
      return code === 0;
    });
  } catch {
    mustBe(false, () => `${node.name} does not get well: ${last}`);
  }
}

/** Says what it did. */
function damage(node: CopyNode, kind: string, random: () => number): string | undefined {
  const spot = KINDS[kind]!.find(node.directory, random);
  if (spot === undefined) return undefined;
  const { file, from, to } = spot;
  const fd = openSync(file, 'r+');
  const bits = random() < 0.5 ? 1 : 8;
  const at = from + Math.floor(random() * (to - from));
  try {
    for (let n = 0; n < bits; n++) {
      const place = Math.min(to - 1, n === 0 ? at : from + Math.floor(random() * (to - from)));
      const byte = Buffer.alloc(1);
      readSync(fd, byte, 0, 1, place);
      byte[0]! ^= 1 << Math.floor(random() * 8);
      writeSync(fd, byte, 0, 1, place);
    }
  } finally {
    closeSync(fd);
  }
  return `${kind}: ${bits} bit${bits > 1 ? 's' : ''} of ${path.relative(node.directory, file)} flipped, the first at ${at}`;
}

function segments(directory: string): string[] {
  const log = path.join(directory, LOG);
  return existsSync(log)
    ? readdirSync(log)
        .filter((name) => name.endsWith('.seg'))
        .sort()
    : [];
}

function sealed(
  directory: string,
  random: () => number,
  range: (places: { footer: number; end: number }) => [number, number],
): Spot | undefined {
  const names = segments(directory).slice(0, -1);
  if (names.length < 2) return undefined;
  const file = path.join(directory, LOG, pick(names, random));
  const bytes = readFileSync(file);
  const end = bytes.length;
  const footer = bytes.readUIntLE(end - TRAILER_BYTES + 8, 6);
  if (footer <= HEADER_BYTES || footer >= end - TRAILER_BYTES) return undefined;
  const [from, to] = range({ footer, end });
  return { file, from, to };
}

function whole(file: string): Spot | undefined {
  if (!existsSync(file)) return undefined;
  const { size } = statSync(file);
  return size === 0 ? undefined : { file, from: 0, to: size };
}
