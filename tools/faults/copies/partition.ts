/**
 * The network between the nodes is cut, with network namespaces: each node in one of its own, with two interfaces. Clients reach it over the first;
 * the nodes reach each other over the second, through a bridge that this takes them off, one or several, without a word to anybody.
 *
 * Needs root and `ip`. What it makes is named after this process and taken away at the end.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { mustBe } from './broken.js';
import { until, varve } from './node.js';
import type { Kept } from './promises.js';
import { finish, pick, saysSetAside } from './scenarios.js';
import { makeDirectory, type Spot, Trio, type TrioOptions } from './trio.js';

const NAMES = ['a', 'b', 'c'];
const PORT = 7411;

/** Undefined where it is not allowed here; the story says so. */
export async function partition(options: TrioOptions): Promise<Kept | undefined> {
  const refusal = whyNot();
  if (refusal !== undefined) {
    options.story.tell('', `partition: skipped, ${refusal}`);
    return undefined;
  }
  const network = new Network();
  try {
    network.make();
    const directory = makeDirectory();
    const trio = await Trio.start(options, directory, await spots(network, directory));
    return await finish(trio, () => cutAndHeal(trio, network));
  } finally {
    network.remove();
  }
}

async function cutAndHeal(trio: Trio, network: Network): Promise<{ mayBeAside: boolean; mayBeLost: boolean }> {
  const { story, random, load } = trio;
  const follower = pick(await trio.followers(), random);
  story.tell(follower.name, 'cut off from the others');
  network.cut(follower.name);
  await load!.more(15);
  story.tell(follower.name, 'joined again');
  network.join(follower.name);
  await load!.more(15);
  await trio.settled();

  const old = await trio.owner();
  story.tell(old.name, 'the owner is cut off; its clients still reach it');
  network.cut(old.name);
  const before = load!.counts.local;
  await until('it goes on by itself', async () => load!.counts.local > before + 5);
  const next = pick(
    trio.nodes.filter((node) => node !== old),
    random,
  );
  story.tell(next.name, 'promoted on the side of the majority');
  const owner = await trio.promote(next);
  await load!.more(15);
  story.tell(old.name, 'joined again');
  network.join(old.name);
  await until(`${old.name} follows`, () => old.isA('follower'));
  await trio.settled();
  await saysSetAside(old);

  story.tell('', 'all three cut off from each other');
  for (const { name } of trio.nodes) network.cut(name);
  const answer = await owner.ask(
    'POST',
    '/v1/records?acks=quorum',
    JSON.stringify({ records: [{ collection: 'alone', key: 'k', body: 1 }] }),
  );
  mustBe(answer.status === 504, () => `alone, acks=quorum was answered with ${answer.status} ${answer.text}`);
  for (const { name } of trio.nodes) network.join(name);
  story.tell('', 'all joined again');
  await load!.more(15);
  return { mayBeAside: true, mayBeLost: false };
}

function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root';
  const probe = `vp${process.pid}`;
  const tried = ip(['netns', 'add', probe]);
  if (tried !== undefined) return `network namespaces are not allowed here: ${tried}`;
  const bridged = ip(['link', 'add', `${probe}b`, 'type', 'bridge']);
  ip(['netns', 'del', probe]);
  if (bridged !== undefined) return `bridges are not allowed here: ${bridged}`;
  ip(['link', 'del', `${probe}b`]);
  return undefined;
}

/** What it said, where it did not work. */
function ip(args: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync('ip', args, { encoding: 'utf8' });
  if (error !== undefined) return error.message;
  return status === 0 ? undefined : stderr.trim();
}

function mustIp(...args: string[]): void {
  const refused = ip(args);
  if (refused !== undefined) throw new Error(`ip ${args.join(' ')}: ${refused}`);
}

/** Names of interfaces are 15 characters at most. */
class Network {
  readonly #id = `v${process.pid % 100_000}`;
  /** Third byte of the addresses, so that two of these can be there at once. */
  readonly #net = process.pid % 250;

  namespace(name: string): string {
    return `${this.#id}${name}`;
  }

  peerAddress(name: string): string {
    return `10.213.${this.#net}.${NAMES.indexOf(name) + 1}`;
  }

  clientAddress(name: string): string {
    return `10.214.${this.#net}.${NAMES.indexOf(name) * 4 + 2}`;
  }

  make(): void {
    mustIp('link', 'add', `${this.#id}br`, 'type', 'bridge');
    mustIp('link', 'set', `${this.#id}br`, 'up');
    for (const name of NAMES) {
      const namespace = this.namespace(name);
      mustIp('netns', 'add', namespace);
      mustIp('-n', namespace, 'link', 'set', 'lo', 'up');
      mustIp('link', 'add', `${this.#id}p${name}`, 'type', 'veth', 'peer', 'name', 'peers', 'netns', namespace);
      mustIp('-n', namespace, 'addr', 'add', `${this.peerAddress(name)}/24`, 'dev', 'peers');
      mustIp('-n', namespace, 'link', 'set', 'peers', 'up');
      mustIp('link', 'set', `${this.#id}p${name}`, 'master', `${this.#id}br`, 'up');
      mustIp('link', 'add', `${this.#id}c${name}`, 'type', 'veth', 'peer', 'name', 'clients', 'netns', namespace);
      const ours = this.clientAddress(name).replace(/\d+$/, (last) => String(Number(last) - 1));
      mustIp('addr', 'add', `${ours}/30`, 'dev', `${this.#id}c${name}`);
      mustIp('link', 'set', `${this.#id}c${name}`, 'up');
      mustIp('-n', namespace, 'addr', 'add', `${this.clientAddress(name)}/30`, 'dev', 'clients');
      mustIp('-n', namespace, 'link', 'set', 'clients', 'up');
    }
  }

  /** Frames from it go nowhere, and none come to it; its interface stays up, so that nobody is told. */
  cut(name: string): void {
    mustIp('link', 'set', `${this.#id}p${name}`, 'nomaster');
  }

  join(name: string): void {
    mustIp('link', 'set', `${this.#id}p${name}`, 'master', `${this.#id}br`);
  }

  remove(): void {
    for (const name of NAMES) {
      ip(['netns', 'del', this.namespace(name)]);
      ip(['link', 'del', `${this.#id}p${name}`]);
      ip(['link', 'del', `${this.#id}c${name}`]);
    }
    ip(['link', 'del', `${this.#id}br`]);
  }
}

/** Beyond loopback nodes ask for tokens: one for clients, one that they show to each other. */
async function spots(network: Network, directory: string): Promise<Spot[]> {
  mkdirSync(directory, { recursive: true });
  const tokens = path.join(directory, 'tokens.json');
  const make = async (role: string): Promise<string> => {
    const { code, output } = await varve(['token', 'create', '--role', role, '--tokens', tokens]);
    const token = /varve_\S+/.exec(output)?.[0];
    if (code !== 0 || token === undefined) throw new Error(`varve token create: ${output}`);
    return token;
  };
  const token = await make('admin');
  const peerFile = path.join(directory, 'peer-token');
  writeFileSync(peerFile, `${await make('replica')}\n`, { mode: 0o600 });
  return NAMES.map((name) => ({
    url: `http://${network.peerAddress(name)}:${PORT}`,
    clientUrl: `http://${network.clientAddress(name)}:${PORT}`,
    prefix: ['ip', 'netns', 'exec', network.namespace(name)],
    token,
    flags: [
      ...['--listen', `0.0.0.0:${PORT}`, '--host-names', network.clientAddress(name)],
      ...['--tokens', tokens, '--peer-token-file', peerFile],
    ],
  }));
}
