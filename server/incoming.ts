/**
 * A request whose body can be had as the parser finds it: a body that is read whole needs none of a stream's buffering, flow and events,
 * which cost more than looking at it. Who asks for that later than in the turn the request came in reads the stream, as ever.
 *
 *   parser -> push -> sink, where there is one -> the stream otherwise
 *
 * Invariants: a body goes to the sink or to the stream, never to both: a sink that lets go in the middle leaves the rest to the stream.
 * What went to a sink whole, or was said to be nothing, has no `end` and no `close` of its own; where the connection breaks first, `close` is
 * emitted as by any request.
 */
import { IncomingMessage } from 'node:http';

export interface BodySink {
  data(chunk: Buffer): void;
  end(): void;
}

/** Of requests whose end interests nobody. */
const NOBODY: BodySink = { data: () => {}, end: () => {} };

/** See `IncomingMessage` of node's `createServer`. */
export class Incoming extends IncomingMessage {
  #sink: BodySink | undefined;

  /** Gives the body to `sink` as it comes; false, and nothing done, where it may have begun to come. */
  giveBody(sink: BodySink): boolean {
    if (this.#sink !== undefined || this.complete || this.readableLength > 0 || this.readableFlowing !== null || this.destroyed)
      return false;
    this.#sink = sink;
    return true;
  }

  /** Nobody waits for the end of this request, which has no body. */
  endsUnheard(): void {
    if (!this.complete) this.#sink ??= NOBODY;
  }

  /** What is still to come goes to the stream, its end too. */
  letGo(): void {
    this.#sink = undefined;
  }

  /** Called by node's parser, with null at the end. */
  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    const sink = this.#sink;
    if (sink === undefined) return super.push(chunk, encoding);
    if (chunk === null) sink.end();
    else sink.data(chunk);
    return true;
  }
}
