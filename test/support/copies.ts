/** Copies of one database on simulated machines, each answering its peers, with nothing between them but calls. */
import type { Database, OpenOptions } from '../../engine/database.js';
import { openWith } from '../../engine/index.js';
import type { MemoryPlatform } from '../../engine/platform/memory.js';
import { LogService } from '../../replication/log-service.js';
import { createPeerService } from '../../replication/peer-service.js';
import { PeerError, type PeerService, type Transport } from '../../replication/transport.js';
import { treeHandlers } from '../../replication/tree-service.js';
import { Verifier, type VerifierOptions } from '../../replication/verifier.js';

export interface Copy {
  readonly url: string;
  readonly db: Database;
  readonly machine: MemoryPlatform;
  /** May be replaced: by one that lies. */
  service: PeerService;
}

export class Copies {
  readonly byUrl = new Map<string, Copy>();
  /** Calls that were made, by method and path. */
  readonly calls: string[] = [];
  readonly log: string[] = [];

  readonly transport: Transport = {
    request: async (url, { method, path, json, signal = new AbortController().signal }) => {
      const [bare = '', query = ''] = path.split('?');
      this.calls.push(`${method} ${bare}`);
      const copy = this.byUrl.get(url);
      if (copy === undefined) throw new PeerError(url, 'nobody answers');
      const parsed = json === undefined ? undefined : JSON.parse(JSON.stringify(json));
      const call = { method, path: bare, query: new URLSearchParams(query), headers: {}, json: parsed, signal };
      const answer = await copy.service.handle(call);
      const headers = Object.fromEntries(Object.entries(answer.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
      const whole = answer.json === undefined ? [] : [Buffer.from(JSON.stringify(answer.json))];
      return { status: answer.status, headers, body: answer.stream ?? chunks(whole) };
    },
  };

  async add(url: string, machine: MemoryPlatform, options: OpenOptions): Promise<Copy> {
    const db = await openWith(machine, options);
    const logs = new LogService({ db, clock: machine.clock, noteAcks: () => [], quorumSeq: () => 0 });
    const service = createPeerService(db, { ...logs.handlers, ...treeHandlers(db, machine.clock) });
    const copy = { url, db, machine, service };
    this.byUrl.set(url, copy);
    return copy;
  }

  /** Compares with all others, and asks them. `owner`: the URL of the owner, where it is not the copy itself. */
  verifier(copy: Copy, owner?: string, options: Partial<VerifierOptions> = {}): Verifier {
    const told = (fields: object, message: string): void => void this.log.push(`${message} ${JSON.stringify(fields)}`);
    return new Verifier({
      db: copy.db,
      clock: copy.machine.clock,
      randomBytes: (size) => copy.machine.randomBytes(size),
      transport: this.transport,
      peers: [...this.byUrl.keys()].filter((url) => url !== copy.url),
      ownerUrl: () => owner,
      log: { info: told, warn: told },
      bytesPerSecond: Number.POSITIVE_INFINITY,
      ...options,
    });
  }

  async close(): Promise<void> {
    for (const { db } of this.byUrl.values()) await db.close();
  }
}

async function* chunks(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* parts;
}
