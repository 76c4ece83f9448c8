/**
 * A network in one process: carries calls between the peer services of simulated nodes, and makes of them what networks make of calls.
 *
 *   transport(from).request(url) -> delay, loss, duplication -> service.handle -> delay, loss -> answer, or pieces of a stream
 *
 * Everything follows from the seed and the clock; nothing moves while time stands still. Streams are pulled: whoever does not read holds up
 * the source's generator, as a full socket does. What is under way between two calls may overtake each other; bytes of one stream never do.
 */
import { setMaxListeners } from 'node:events';
import { type SimulatedTime, settle } from '../../engine/platform/memory-clock.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { PeerError, type PeerRequest, type PeerResponse, type PeerService, type Transport } from '../../replication/index.js';

export interface NetworkFaults {
  /** One way, in milliseconds. */
  readonly delayMs: readonly [least: number, most: number];
  /** Once in so many messages; 0: never. */
  readonly loss: number;
  /** Once in so many calls the other side gets it twice. */
  readonly duplication: number;
  /** Once in so many pieces of a stream it breaks off, in the middle of a piece. */
  readonly cut: number;
  /** Largest piece of a stream; smaller ones come too. */
  readonly pieceBytes: number;
}

export const CALM: NetworkFaults = { delayMs: [1, 1], loss: 0, duplication: 0, cut: 0, pieceBytes: 1 << 20 };
export const ROUGH: NetworkFaults = { delayMs: [1, 40], loss: 25, duplication: 10, cut: 40, pieceBytes: 3_000 };

/** Answers come when those who asked have given up. */
export const SLOW: NetworkFaults = { delayMs: [1, 2_500], loss: 40, duplication: 6, cut: 0, pieceBytes: 1 << 20 };

interface Host {
  readonly service: PeerService;
  /** Ends what is under way when it goes down. */
  readonly down: AbortController;
}

export class SimNetwork {
  readonly time: SimulatedTime;
  faults: NetworkFaults;
  /** Streams and calls that began. */
  calls = 0;
  /** Bytes of streams that arrived. */
  streamedBytes = 0;
  /** Changes bytes of streams on their way: a lying source. */
  tamper: ((from: string, bytes: Uint8Array) => Uint8Array) | undefined;
  readonly #random: SeededRandom;
  readonly #hosts = new Map<string, Host>();
  readonly #blocked = new Set<string>();

  constructor(time: SimulatedTime, seed: number, faults: NetworkFaults = CALM) {
    this.time = time;
    this.faults = faults;
    this.#random = new SeededRandom(seed);
  }

  up(url: string, service: PeerService): void {
    this.down(url);
    const down = new AbortController();
    setMaxListeners(0, down.signal);
    this.#hosts.set(url, { service, down });
  }

  /** The process is gone: connections are reset. */
  down(url: string): void {
    this.#hosts.get(url)?.down.abort();
    this.#hosts.delete(url);
  }

  /** Nothing gets from one to the other any more, and nobody is told. */
  block(from: string, to: string): void {
    this.#blocked.add(`${from} ${to}`);
  }

  /** Both ways, between this node and all those. */
  isolate(url: string, others: readonly string[]): void {
    for (const other of others) {
      this.block(url, other);
      this.block(other, url);
    }
  }

  heal(): void {
    this.#blocked.clear();
  }

  transport(from: string): Transport {
    return { request: (url, request) => this.#request(from, url, request) };
  }

  /** Moves time on in small steps until the condition holds. Throws where it does not within `maxMs`. */
  async until(what: string, condition: () => boolean, maxMs = 60_000, stepMs = 5): Promise<void> {
    const end = this.time.elapsedMicros + maxMs * 1000;
    while (!condition()) {
      if (this.time.elapsedMicros >= end) throw new Error(`not within ${maxMs} ms: ${what}`);
      await this.time.advanceAndSettle(stepMs * 1000);
    }
    await settle();
  }

  /** Lets time pass. */
  async pass(ms: number, stepMs = 20): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) await this.time.advanceAndSettle(Math.min(left, stepMs) * 1000);
  }

  async #request(from: string, url: string, request: PeerRequest): Promise<PeerResponse> {
    this.calls++;
    const { timeoutMs = 5_000, signal } = request;
    const end = new AbortController();
    const hangUp = (): void => end.abort();
    signal?.addEventListener('abort', hangUp);
    let late = false;
    const cancel = this.time.after(timeoutMs, () => {
      late = true;
      hangUp();
    });
    try {
      if (signal?.aborted === true) hangUp();
      return await this.#answer(from, url, request, end.signal);
    } catch (error) {
      if (late) throw new PeerError(url, `no answer within ${timeoutMs} ms`);
      if (signal?.aborted === true) throw new PeerError(url, 'the call was given up', false);
      throw error;
    } finally {
      cancel();
      if (request.stream !== true) signal?.removeEventListener('abort', hangUp);
    }
  }

  async #answer(from: string, url: string, request: PeerRequest, signal: AbortSignal): Promise<PeerResponse> {
    await this.#travel(from, url, signal);
    const host = this.#hosts.get(url);
    if (host === undefined) {
      await this.#wait(1, signal);
      throw new PeerError(url, 'connection refused');
    }
    if (this.#happens(this.faults.duplication)) void this.#twice(host, request);
    const call = new AbortController();
    signal.addEventListener('abort', () => call.abort());
    const reset = (): void => call.abort();
    host.down.signal.addEventListener('abort', reset);
    const handled = host.service.handle(callOf(request, call.signal));
    const answer = await race(handled, signal, host.down.signal, url);
    if (answer.stream === undefined) host.down.signal.removeEventListener('abort', reset);
    await this.#travel(url, from, signal);
    if (host.down.signal.aborted) throw new PeerError(url, 'connection reset');
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(answer.headers ?? {})) headers[name.toLowerCase()] = value;
    if (answer.stream === undefined) {
      const bytes = answer.json === undefined ? new Uint8Array(0) : Buffer.from(JSON.stringify(answer.json));
      return { status: answer.status, headers, body: once(bytes) };
    }
    const source = answer.stream[Symbol.asyncIterator]();
    // Whoever hangs up may never pull again.
    const leave = (): void => void source.return?.();
    signal.addEventListener('abort', leave);
    host.down.signal.addEventListener('abort', leave);
    if (signal.aborted) leave();
    return { status: answer.status, headers, body: this.#pieces(source, from, url, signal, host, call) };
  }

  async *#pieces(
    source: AsyncIterator<Uint8Array>,
    from: string,
    url: string,
    signal: AbortSignal,
    host: Host,
    call: AbortController,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const next = await race(source.next(), signal, host.down.signal, url);
        if (next.done === true) return;
        const bytes = this.tamper?.(url, Uint8Array.from(next.value)) ?? next.value;
        for (let at = 0; at < bytes.length; ) {
          const size = 1 + this.#random.below(this.faults.pieceBytes);
          const piece = bytes.subarray(at, at + size);
          at += piece.length;
          // A stream is no datagram: what is lost is sent again, and nothing moves meanwhile.
          await this.#travel(url, from, signal, true, host.down.signal);
          if (host.down.signal.aborted) throw new PeerError(url, 'connection reset');
          if (this.#happens(this.faults.cut)) {
            yield piece.subarray(0, this.#random.below(piece.length + 1));
            throw new PeerError(url, 'the stream broke off');
          }
          this.streamedBytes += piece.length;
          yield piece;
        }
      }
    } finally {
      call.abort();
      void source.return?.();
    }
  }

  /** The same call once more; nobody hears the answer. */
  async #twice(host: Host, request: PeerRequest): Promise<void> {
    const call = new AbortController();
    await this.#wait(this.#random.below(2_000), host.down.signal).catch(() => {});
    try {
      const answer = await host.service.handle(callOf(request, call.signal));
      await answer.stream?.[Symbol.asyncIterator]().return?.();
    } catch {
      // The first one tells.
    }
    call.abort();
  }

  async #travel(from: string, to: string, signal: AbortSignal, stream = false, down?: AbortSignal): Promise<void> {
    const [least, most] = this.faults.delayMs;
    let delay = least + this.#random.below(most - least + 1);
    if (this.#happens(this.faults.loss)) {
      if (!stream) await never(signal);
      delay += 200;
    }
    await this.#wait(delay, signal);
    while (this.#blocked.has(`${from} ${to}`)) {
      if (down?.aborted === true) return;
      if (!stream) await never(signal);
      await this.#wait(20, signal);
    }
  }

  #wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new Error('given up'));
      const aborted = (): void => {
        cancel();
        reject(new Error('given up'));
      };
      const cancel = this.time.after(ms, () => {
        signal.removeEventListener('abort', aborted);
        resolve();
      });
      signal.addEventListener('abort', aborted);
    });
  }

  #happens(times: number): boolean {
    return times > 0 && this.#random.oneIn(times);
  }
}

function callOf({ method, path, headers = {}, json }: PeerRequest, signal: AbortSignal) {
  const url = new URL(path, 'http://peer');
  const parsed: unknown = json === undefined ? undefined : JSON.parse(JSON.stringify(json));
  return { method, path: url.pathname, query: url.searchParams, headers, json: parsed, signal };
}

function race<T>(work: Promise<T>, signal: AbortSignal, down: AbortSignal, url: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(new PeerError(url, 'given up', false));
    const reset = (): void => reject(new PeerError(url, 'connection reset'));
    if (signal.aborted) return aborted();
    if (down.aborted) return reset();
    signal.addEventListener('abort', aborted);
    down.addEventListener('abort', reset);
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', aborted);
      down.removeEventListener('abort', reset);
    });
  });
}

function never(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const aborted = (): void => reject(new Error('given up'));
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted);
  });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  if (bytes.length > 0) yield bytes;
}
