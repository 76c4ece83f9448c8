/**
 * Three copies of one database, and a load on them: made, led, promoted, and at the end held to every promise.
 *
 * Command lines never change: `a` began the database, `b` and `c` were told to follow it, and so they are started for ever.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../../free-port.js';
import { BrokenPromise } from './broken.js';
import { CopyNode, type NodePlace, until } from './node.js';
import type { Story } from './story.js';
import { Load, randomFrom } from './writers.js';

/** Small, so that a minute of writing fills many segments and trees. */
const SMALL = ['--segment-bytes', '96KiB', '--checkpoint-records', '400', '--acks-timeout', '4s'];
const NAMES = ['a', 'b', 'c'] as const;

export interface TrioOptions {
  readonly story: Story;
  readonly seed: number;
  readonly writers?: number;
}

/** Where a node is to be, before it is known who else there is. */
export interface Spot extends Pick<NodePlace, 'url' | 'clientUrl' | 'prefix' | 'token'> {
  /** `--listen` and whatever else the place asks for. */
  readonly flags: readonly string[];
}

export class Trio {
  readonly directory: string;
  readonly nodes: readonly CopyNode[];
  readonly story: Story;
  readonly random: () => number;
  readonly seed: number;
  readonly #writers: number;
  load: Load | undefined;

  private constructor(options: TrioOptions, directory: string, spots: readonly Spot[]) {
    this.story = options.story;
    this.seed = options.seed;
    this.random = randomFrom(options.seed);
    this.#writers = options.writers ?? 4;
    this.directory = directory;
    const urls = spots.map(({ url }) => url).join(',');
    this.nodes = spots.map((spot, n) => {
      const follow = n === 0 ? [] : ['--follow', spots[0]!.url];
      const flags = [...spot.flags, '--replicas', urls, '--advertise', spot.url, ...follow, ...SMALL];
      return new CopyNode({ ...spot, name: NAMES[n]!, directory: path.join(directory, NAMES[n]!), flags }, options.story);
    });
  }

  /** All three up, one owner, writers at work. `spots`: where they are; on free ports of this machine by default. */
  static async start(options: TrioOptions, directory = makeDirectory(), spots?: readonly Spot[]): Promise<Trio> {
    const trio = new Trio(options, directory, spots ?? (await localSpots()));
    try {
      for (const node of trio.nodes) node.launch();
      await Promise.all(trio.nodes.map((node) => node.ready()));
      await trio.settled();
      trio.story.tell('', `three nodes in ${directory}: ${trio.nodes.map(({ name, url }) => `${name} ${url}`).join(', ')}`);
      trio.load = new Load({ nodes: trio.nodes, writers: trio.#writers, random: trio.random, name: `s${options.seed}` });
      await trio.load.more(20);
      return trio;
    } catch (error) {
      await trio.killAll();
      throw error;
    }
  }

  node(name: string): CopyNode {
    return this.nodes.find((each) => each.name === name)!;
  }

  async owner(): Promise<CopyNode> {
    let found: CopyNode | undefined;
    await until('there is an owner', async () => {
      found = await this.#ownerNow();
      return found !== undefined;
    });
    return found!;
  }

  async #ownerNow(): Promise<CopyNode | undefined> {
    const states = await Promise.all(this.nodes.map((node) => (node.isAlive ? node.state() : undefined)));
    const owners = this.nodes.filter((_, n) => states[n]?.role === 'owner');
    const epochs = owners.map((node) => states[this.nodes.indexOf(node)]!.epoch);
    if (new Set(epochs).size < epochs.length)
      throw new BrokenPromise(`two owners in one epoch: ${owners.map(({ name }) => name).join(', ')} in ${epochs.join(', ')}`);
    return owners.sort((x, y) => epochs[owners.indexOf(y)]! - epochs[owners.indexOf(x)]!)[0];
  }

  async followers(): Promise<CopyNode[]> {
    const owner = await this.owner();
    return this.nodes.filter((node) => node !== owner);
  }

  /** One owner, two followers that have a say. */
  async settled(): Promise<void> {
    await until('one owns, the others follow and have a say', async () => {
      const states = await Promise.all(this.nodes.map((node) => node.state()));
      const owners = states.filter((state) => state?.role === 'owner');
      return owners.length === 1 && states.every((state) => state?.role === 'owner' || (state?.role === 'follower' && state.caughtUp));
    });
  }

  /** As `varve promote` does: again where no majority could be asked yet, and of the node that is named where that one is ahead. */
  async promote(node: CopyNode): Promise<CopyNode> {
    let candidate = node;
    let last = '';
    await until(`${node.name}, or one ahead of it, is promoted`, async () => {
      const answer = await candidate
        .ask('POST', '/v1/shards/1/promotion', '{}')
        .catch((error: unknown) => ({ status: 0, text: String(error) }));
      if (answer.status === 200) return true;
      const { detail, ahead } = refusalOf(answer.text);
      if (detail !== last) this.story.tell(candidate.name, `promotion refused: ${answer.status} ${detail}`);
      last = detail;
      if (![0, 409, 503].includes(answer.status)) throw new BrokenPromise(`promotion answered ${answer.status} ${answer.text}`);
      candidate = this.nodes.find(({ url }) => url === ahead?.url) ?? candidate;
      return false;
    });
    return candidate;
  }

  async killAll(): Promise<void> {
    await this.load?.stop().catch(() => undefined);
    await Promise.all(this.nodes.map((node) => node.kill()));
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export function makeDirectory(): string {
  return mkdtempSync(path.join(tmpdir(), 'varve-copies-'));
}

async function localSpots(): Promise<Spot[]> {
  const spots: Spot[] = [];
  for (let n = 0; n < NAMES.length; n++) {
    const port = await freePort();
    spots.push({ url: `http://127.0.0.1:${port}`, flags: ['--listen', `127.0.0.1:${port}`] });
  }
  return spots;
}

function refusalOf(text: string): { readonly detail: string; readonly ahead?: { readonly url: string } } {
  try {
    return JSON.parse(text) as { detail: string; ahead?: { url: string } };
  } catch {
    return { detail: text };
  }
}
