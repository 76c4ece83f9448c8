/**
 * Puts a database among its copies: fills an empty directory from the one it is to follow, opens it, and starts replication over it.
 *
 * Invariants: where there may be other copies the database opens held: nothing is written before it is decided who owns a shard. What it began
 * it ends: `leave` says goodbye to followers and lets go of every connection; the database is then its opener's to close.
 */
import { type ConfirmErasure, type Database, nodePlatform, type OpenOptions, type Platform } from '../engine/index.js';
import {
  electionHandlers,
  httpTransport,
  type PeerHandlers,
  prepareReplica,
  type Replicator,
  startReplication,
  treeHandlers,
  Verifier,
} from '../replication/index.js';
import type { CopiesConfig, PeerCredentials } from './copies-config.js';
import { Forwarder } from './forward.js';
import type { Logger } from './logging.js';
import { answerPeersWith } from './peers.js';
import { ReplicatedCopies } from './replicated-copies.js';

export interface JoinOptions {
  readonly directory: string;
  readonly config: CopiesConfig;
  readonly credentials: PeerCredentials;
  /** Of this server, where it is told no other. */
  readonly url: string;
  readonly logger: Logger;
  readonly openDatabase: (options: OpenOptions) => Promise<Database>;
  readonly open: OpenOptions;
  /** How often every byte is read back; 0: never. */
  readonly scrubEveryMs?: number;
  /** Ends a filling that is under way. */
  readonly signal: AbortSignal;
  /** The machine's by default. */
  readonly platform?: Platform;
  /** More answers to peers. */
  readonly handlers?: (db: Database, replicator: Replicator) => PeerHandlers;
}

export interface Joined {
  readonly db: Database;
  readonly copies: ReplicatedCopies;
  readonly forwarder: Forwarder;
  readonly replicator: Replicator;
  readonly verifier: Verifier;
  leave(): Promise<void>;
}

export async function join(options: JoinOptions): Promise<Joined> {
  const { config, credentials, logger, signal } = options;
  const { follow, replicas, advertise, acksTimeoutMs } = config;
  const platform = options.platform ?? nodePlatform(options.directory);
  const { token, ca, cert, key } = credentials;
  const tls = { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  const transport = httpTransport({ clock: platform.clock, token: () => token, tls });
  try {
    const [source, ...others] = new Set([...(follow === undefined ? [] : [follow]), ...replicas.filter((each) => each !== advertise)]);
    // Who is told to follow nobody began the database: on an empty disk it asks whether the others have it still.
    const mayBegin = follow === undefined;
    if (source !== undefined) await fill({ platform, transport, url: source, others, mayBegin, signal }, logger);
    const hold = follow !== undefined || replicas.length > 1;
    const db = await options.openDatabase({ ...options.open, ...(hold ? { replication: { hold } } : {}) });
    try {
      let copies: ReplicatedCopies | undefined;
      const replicator = await startReplication({
        db,
        platform,
        transport,
        config: { replicas, acksTimeoutMs, ...(follow === undefined ? {} : { follow }), ...(advertise === undefined ? {} : { advertise }) },
        log: logger,
        handlers: (own) => ({
          ...treeHandlers(db, platform.clock),
          ...electionHandlers({
            db,
            replicas,
            onPromised: ({ id }, { url: candidate }) => {
              transport.heardFrom?.(candidate);
              void own.takeRole(id);
            },
          }),
          ...options.handlers?.(db, own),
        }),
        onTooOld: (shard) =>
          logger.error(
            { shard, why: 'its source has compacted beyond where this copy ends' },
            'this copy must begin anew, from an empty directory',
          ),
        promote: async (shard) => copies?.promote(shard, false),
      });
      answerPeersWith(db, replicator.service);
      db.confirmErasures(untilErased(db, replicator));
      const url = advertise ?? options.url;
      copies = new ReplicatedCopies({ db, replicator, transport, clock: platform.clock, url, replicas });
      const forwarder = new Forwarder(db.nodeId, credentials);
      const peers = new Set([...(follow === undefined ? [] : [follow]), ...replicas.filter((each) => each !== advertise)]);
      const { scrubEveryMs } = options;
      const verifier = new Verifier({
        db,
        clock: platform.clock,
        randomBytes: (size) => platform.randomBytes(size),
        transport,
        peers: [...peers],
        ownerUrl: (shard) => {
          const owner = copies.owner(shard);
          return owner.here ? undefined : (owner.url ?? follow);
        },
        log: logger,
        ...(scrubEveryMs === undefined ? {} : { scrubEveryMs }),
      });
      verifier.start();
      const leave = async (): Promise<void> => {
        verifier.close();
        await replicator.close();
        transport.close();
        forwarder.close();
      };
      return { db, copies, forwarder, replicator, verifier, leave };
    } catch (error) {
      await db.close().catch(() => undefined);
      throw error;
    }
  } catch (error) {
    transport.close();
    throw error;
  }
}

/** Between two looks at what followers have carried out. */
const LOOK_MS = 250;

/** Waits until every copy has taken the bodies out of its files; ends where this node owns the shard no more: it is the next owner's then. */
function untilErased(db: Database, replicator: Replicator): ConfirmErasure {
  return async (shard, seq, tell, control) => {
    let wake = () => {};
    control.onCancel(() => wake());
    let told = '';
    for (;;) {
      const isOwner = db.replica(shard).role === 'owner';
      const outstanding = isOwner ? replicator.outstanding(shard, seq) : [];
      if (outstanding.length === 0 || control.cancelled) return outstanding;
      if (outstanding.join() !== told) tell(outstanding);
      told = outstanding.join();
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, LOOK_MS).unref();
      });
    }
  };
}

async function fill(options: Parameters<typeof prepareReplica>[0], logger: Logger): Promise<void> {
  const { url } = options;
  const { made } = await prepareReplica({
    ...options,
    log: (event) => {
      if (event.what === 'retry') logger.warn({ why: event.reason, waitMs: event.waitMs }, 'the copy cannot be filled yet');
      else logger.info(event, 'the copy is being filled');
    },
  });
  if (made !== undefined) logger.info({ url, ...made }, 'the copy is filled');
}
