/**
 * Tests of repair begin here: an owner, a follower of it that lost something before it was opened, and what its donors may answer instead of the truth.
 *
 * Whoever makes a cluster calls `closeClusters` after each test.
 */
import { recordSeedOf } from '../../engine/copying.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';
import { encodeMessage, MessageDecoder, type StreamMessage } from '../../replication/message.js';
import type { PeerService } from '../../replication/transport.js';
import { Copies, type Copy } from '../support/copies.js';
import { contents, OPTIONS, segmentsOf, subject } from './mending.js';

const open: Copies[] = [];

export interface Cluster {
  readonly copies: Copies;
  readonly owner: Copy;
  readonly hurt: Copy;
  readonly expected: readonly string[];
}

/** The owner, and a follower that lost something before it was opened. */
export async function cluster(damage: (machine: MemoryPlatform) => void, made?: MemoryPlatform): Promise<Cluster> {
  const machine = made ?? (await subject());
  const copies = begun();
  const other = machine.clone({ seed: 4 });
  const owner = await copies.add('http://owner', machine, OPTIONS);
  const expected = await contents(owner.db);
  damage(other);
  const hurt = await copies.add('http://hurt', other, OPTIONS);
  await hurt.db.replica(1).follow({ node: owner.db.nodeId, url: owner.url });
  return { copies, owner, hurt, expected };
}

/** None yet, closed by `closeClusters`. */
export function begun(): Copies {
  const copies = new Copies();
  open.push(copies);
  return copies;
}

export async function closeClusters(): Promise<void> {
  for (const copies of open.splice(0)) await copies.close();
}

/** The segment that is damaged where a test names no other. */
export const SEGMENT = 3;

/** Flips a bit at the byte that `at` picks. */
export const flip =
  (at: (size: number) => number, pick = SEGMENT) =>
  (machine: MemoryPlatform) => {
    const path = segmentsOf(machine)[pick]!;
    machine.flipBit(path, 8 * at(machine.contents(path).length) + 3);
  };

/** A donor whose stream says something else. */
export function lying(honest: PeerService, database: string, lie: (message: StreamMessage) => StreamMessage | undefined): PeerService {
  const seed = recordSeedOf(database, 1);
  return {
    async handle(call) {
      const answer = await honest.handle(call);
      const { stream } = answer;
      if (!call.path.endsWith('/log') || stream === undefined) return answer;
      const decoder = new MessageDecoder(seed);
      return {
        ...answer,
        stream: (async function* () {
          for await (const chunk of stream) {
            decoder.push(chunk);
            for (let message = decoder.next(); message !== undefined; message = decoder.next()) {
              const told = message.kind === 'batches' ? lie(message) : message;
              if (told !== undefined) yield encodeMessage(told, seed);
            }
          }
        })(),
      };
    },
  };
}
