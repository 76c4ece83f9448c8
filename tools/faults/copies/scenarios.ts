/** What is done to three copies under load: kill, wipe, promote. Each ends with all promises checked; rot and partition have files of their own. */
import { type CopyNode, until } from './node.js';
import { holdToPromises, type Kept } from './promises.js';
import { Trio, type TrioOptions } from './trio.js';

/** The follower dies in the middle of the stream, several times, once while it is starting; and so does the owner. */
export async function kill(options: TrioOptions): Promise<Kept> {
  const trio = await Trio.start(options);
  return finish(trio, async () => {
    const { load, story } = trio;
    for (let n = 0; n < 3; n++) {
      const follower = pick(await trio.followers(), trio.random);
      story.tell(follower.name, 'kill -9, in the middle of the stream');
      await follower.kill();
      await load!.more(15);
      if (n === 1) {
        story.tell(follower.name, 'started, and kill -9 while it is starting');
        follower.launch();
        await until('it listens', async () => follower.hasSaid('listening'));
        await follower.kill();
      }
      story.tell(follower.name, 'started again');
      await follower.start();
      await load!.more(15);
    }
    const owner = await trio.owner();
    story.tell(owner.name, 'kill -9 the owner; nobody is promoted');
    await owner.kill();
    await owner.start();
    await load!.more(15);
    story.tell('', 'kill -9 all three at once');
    await Promise.all(trio.nodes.map((node) => node.kill()));
    await Promise.all(trio.nodes.map((node) => node.start()));
    await load!.more(15);
    return { mayBeAside: false, mayBeLost: false };
  });
}

/** A follower's disk is empty, then the first owner's, each started as ever. */
export async function wipe(options: TrioOptions): Promise<Kept> {
  const trio = await Trio.start(options);
  return finish(trio, async () => {
    const { load, story } = trio;
    const follower = pick(await trio.followers(), trio.random);
    story.tell(follower.name, 'kill -9, its directory deleted, started with the same command line');
    await follower.kill();
    follower.wipe();
    await follower.start();
    await load!.more(15);
    await trio.settled();
    const owner = await trio.owner();
    story.tell(owner.name, 'kill -9 the owner, its directory deleted');
    await owner.kill();
    owner.wipe();
    const next = pick(
      trio.nodes.filter((node) => node !== owner),
      trio.random,
    );
    story.tell(next.name, 'promoted');
    await trio.promote(next);
    await load!.more(10);
    story.tell(owner.name, 'the wiped one is started with the same command line');
    await owner.start();
    await load!.more(15);
    await trio.settled();
    return { mayBeAside: true, mayBeLost: true };
  });
}

/** Another owner while writes go on; then the owner dies and comes back to another's epoch. */
export async function promote(options: TrioOptions): Promise<Kept> {
  const trio = await Trio.start(options);
  return finish(trio, async () => {
    const { load, story } = trio;
    const first = pick(await trio.followers(), trio.random);
    story.tell(first.name, 'promoted while the owner is well');
    await trio.promote(first);
    await load!.more(30);
    await trio.settled();
    const owner = await trio.owner();
    const followers = await trio.followers();
    story.tell(followers.map(({ name }) => name).join(' '), 'kill -9 both followers, so that the owner writes alone');
    await Promise.all(followers.map((node) => node.kill()));
    const before = load!.counts.local;
    await until('the owner has written alone', async () => load!.counts.local > before + 15);
    story.tell(owner.name, 'kill -9 the owner; both followers are started');
    await owner.kill();
    await Promise.all(followers.map(startHeld));
    const next = pick(followers, trio.random);
    story.tell(next.name, 'promoted');
    await trio.promote(next);
    await load!.more(30);
    story.tell(owner.name, 'the old owner comes back');
    await owner.start();
    await trio.settled();
    await saysSetAside(owner);
    await load!.more(15);
    return { mayBeAside: true, mayBeLost: false };
  });
}

/** What it wrote alone it sets aside once it meets the new owner, and says so. */
export function saysSetAside(node: CopyNode): Promise<void> {
  return node.untilAlive(`${node.name} says that it has set aside what it wrote alone`, async () => node.hasSaid('set aside'));
}

/** Up, although nobody owns the shard yet. */
export async function startHeld(node: CopyNode): Promise<void> {
  node.launch();
  await node.untilAlive(`${node.name} answers`, async () => (await node.state()) !== undefined);
}

export async function finish(
  trio: Trio,
  work: () => Promise<{ readonly mayBeAside: boolean; readonly mayBeLost: boolean }>,
): Promise<Kept> {
  try {
    const kept = await holdToPromises(trio, await work());
    trio.remove();
    return kept;
  } catch (error) {
    await trio.killAll();
    for (const node of trio.nodes)
      for (const line of node.log.filter(({ msg }) => !msg.startsWith('request')).slice(-15))
        trio.story.tell(node.name, `  < ${line.msg} ${JSON.stringify(line.fields).slice(0, 400)}`);
    trio.story.tell('', `seed ${trio.seed}; the directories are kept: ${trio.directory}`);
    throw error;
  }
}

export function pick<T>(from: readonly T[], random: () => number): T {
  return from[Math.floor(random() * from.length)]!;
}
