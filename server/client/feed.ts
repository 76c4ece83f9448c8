/**
 * The feed as an iterator that lasts: where the connection ends without a word, it goes on from the last cursor, a little later each time.
 *
 *   connect ─▶ line, line, … ─▶ cut off, or a server that shuts down ─▶ pause ─▶ connect after the last cursor ─▶ …
 *
 * Invariant: every record after the place it began at is given exactly once, in order within its shard, for as long as it runs. It gives
 * up where the server says that it must (what follows was trimmed, no rights), and where it never got through in the first place.
 */
import { isTransient, VarveConnectionError } from './problem.js';
import { NDJSON, type Transport } from './transport.js';
import type { Change, ChangesOptions, JsonValue } from './types.js';

type Line<T> = Partial<Change<T>> & { readonly done?: boolean; readonly closing?: boolean; readonly retryAfterMs?: number };

export async function* followChanges<T = JsonValue>(
  transport: Transport,
  options: ChangesOptions,
): AsyncGenerator<Change<T>, void, undefined> {
  const { shard, collection, live, partial, signal } = options;
  let after = options.after;
  let reached = false;
  for (let failures = 0; ; failures++) {
    let ended: unknown = new VarveConnectionError('cut-short', 'the feed was cut off');
    let askedMs = 0;
    try {
      const query = { shard, collection, live, partial, after };
      for await (const line of transport.lines('GET', '/v1/changes', { query, headers: { Accept: NDJSON }, signal }) as AsyncGenerator<
        Line<T>
      >) {
        reached = true;
        failures = 0;
        if (line.cursor !== undefined) after = line.cursor;
        if (line.id !== undefined) yield line as Change<T>;
        if (line.done === true) return;
        if (line.closing === true) askedMs = line.retryAfterMs ?? 0;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!isTransient(error)) throw error;
      ended = error;
    }
    // A feed that was there once is waited for; one that has an end is a question like any other.
    if (failures >= transport.retries && (!reached || live === false)) throw ended;
    if (askedMs > 0) await transport.sleep(transport.backoff(0, askedMs), signal);
    else await transport.pause(failures, ended, signal);
  }
}
