/**
 * A stream of inserts: lines come in, each goes to the engine at once, answers leave in order as each becomes durable.
 *
 *   request -> LineSplitter -> submit (up to N lines in flight, so that one sync covers many) -> answers in order -> LineWriter
 *
 * Invariants: a bad line costs only itself; line n is answered before line n+1; no more than the limits' lines and bytes are in
 * flight, and a reader who does not read stops the reading of the request (backpressure both ways). `{"done":true}` is written only
 * when every line of a whole request has its answer; a crash or a disconnect leaves a stream without it, and every line answered
 * with an id durable.
 */
import type { IncomingMessage } from 'node:http';
import { beginStream } from './answers.js';
import type { Exchange } from './exchange.js';
import { type Line, LineSplitter, LineWriter } from './ndjson.js';
import { enterStream } from './overload.js';
import { Problem, problemOf } from './problem.js';

export interface Inserted {
  readonly id: string;
  readonly replayed: boolean;
}
/** Inserts what one line says. Called in the order of the lines; the order of the calls is the order in the log. */
export type InsertLine = (bytes: Buffer) => Promise<Inserted>;

interface Answer {
  readonly text: string;
  readonly inserted: boolean;
}
interface Slot {
  readonly answer: Promise<Answer>;
  readonly bytes: number;
}

/** Wakes the one who waits. */
class Signal {
  #wake: (() => void) | undefined;

  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

export async function insertStream(exchange: Exchange, insert: InsertLine): Promise<void> {
  const { req, res, context } = exchange;
  const { limits, bodyMemory } = context;
  const reservedBytes = limits.lineBytesInFlight + limits.maxLineBytes;
  enterStream(res, reservedBytes);
  if (!bodyMemory.take(reservedBytes)) throw new Problem('overloaded', 'The memory for request bodies is used up.');
  try {
    // Headers at once: a client may wait for them before it sends on.
    beginStream(res);
    const writer = new LineWriter(res, limits.answerBufferBytes);
    const splitter = new LineSplitter(limits.maxLineBytes);
    const slots: Slot[] = [];
    const room = new Signal();
    const work = new Signal();
    let bytesInFlight = 0;
    let ended: 'whole' | 'cut' | undefined;
    let inserted = 0;
    let failed = 0;

    const submit = async (lines: readonly Line[]): Promise<void> => {
      for (const line of lines) {
        while (slots.length >= limits.linesInFlight || bytesInFlight >= limits.lineBytesInFlight) await room.wait();
        const bytes = line.bytes?.length ?? 0;
        bytesInFlight += bytes;
        slots.push({ answer: answerLine(line, insert, exchange), bytes });
        work.wake();
      }
    };
    const read = async (): Promise<void> => {
      try {
        for await (const chunk of chunks(req, context.draining)) await submit(splitter.push(chunk));
        if (req.complete && req.readableEnded) {
          await submit(splitter.end());
          ended = 'whole';
        }
      } catch (error) {
        context.logger.debug({ err: error }, 'a stream of inserts broke off');
      }
      ended ??= 'cut';
      work.wake();
    };
    const answer = async (): Promise<void> => {
      for (;;) {
        const slot = slots[0];
        if (slot === undefined) {
          if (ended !== undefined) return;
          await work.wait();
          continue;
        }
        const { text, inserted: ok } = await slot.answer;
        if (ok) inserted++;
        else failed++;
        if (ok) context.figures.lines.inserted++;
        else context.figures.lines.failed++;
        if (writer.pushText(text)) await writer.ready();
        slots.shift();
        bytesInFlight -= slot.bytes;
        room.wake();
      }
    };

    await Promise.all([read(), answer()]);
    // Cut short (the client left, or the server shuts down): every line begun has its answer, and the last line is missing.
    if (ended === 'whole') writer.pushText(`${JSON.stringify({ done: true, inserted, failed })}\n`);
    writer.end();
  } finally {
    bodyMemory.give(reservedBytes);
  }
}

/** Never rejects. */
async function answerLine(line: Line, insert: InsertLine, { context }: Exchange): Promise<Answer> {
  try {
    if (line.bytes === undefined) {
      const limit = context.limits.maxLineBytes;
      throw new Problem('too-large', `The line is over its limit of ${limit} bytes.`, { what: 'line', limit });
    }
    const { id, replayed } = await insert(line.bytes);
    return { text: `{"line":${line.number},"id":"${id}"${replayed ? ',"replayed":true' : ''}}\n`, inserted: true };
  } catch (error) {
    const problem = problemOf(error);
    if (problem.status >= 500) context.logger.warn({ slug: problem.slug, err: problem.cause }, 'a line of a stream failed');
    return { text: `${JSON.stringify({ line: line.number, error: problem })}\n`, inserted: false };
  }
}

/** The chunks of a request, until it ends, breaks (throws) or `stop` is aborted (returns; the request is left where it is). */
async function* chunks(req: IncomingMessage, stop: AbortSignal): AsyncGenerator<Buffer> {
  let halt = () => {};
  const halted = new Promise<'halted'>((resolve) => {
    halt = () => resolve('halted');
  });
  stop.addEventListener('abort', halt, { once: true });
  const source = req.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
  try {
    if (stop.aborted) return;
    for (;;) {
      const step = await Promise.race([source.next(), halted]);
      if (step === 'halted' || step.done === true) return;
      yield step.value as Buffer;
    }
  } finally {
    stop.removeEventListener('abort', halt);
  }
}
