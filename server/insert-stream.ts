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
import type { InsertResult } from '../engine/index.js';
import { beginStream } from './answers.js';
import { database, type Exchange } from './exchange.js';
import { type Line, LineSplitter, LineWriter } from './ndjson.js';
import { enterStream } from './overload.js';
import { Problem, problemOf } from './problem.js';

/** Inserts what one line says, or throws. Called in the order of the lines; the order of the calls is the order in the log. */
export type InsertLine = (bytes: Buffer) => Promise<InsertResult>;

/** `head`: what of the request has been read already. */
export async function insertStream(exchange: Exchange, insert: InsertLine, head?: Buffer): Promise<void> {
  const { req, res, context } = exchange;
  const { limits, bodyMemory } = context;
  const db = database(exchange);
  const reservedBytes = limits.lineBytesInFlight + limits.maxLineBytes;
  enterStream(res, reservedBytes);
  if (!bodyMemory.take(reservedBytes)) throw new Problem('overloaded', 'The memory for request bodies is used up.');
  try {
    // Headers at once: a client may wait for them before it sends on.
    beginStream(res);
    const writer = new LineWriter(res, limits.answerBufferBytes);
    const splitter = new LineSplitter(limits.maxLineBytes);
    const answers = new AnswersInOrder(exchange, writer);
    const submit = async (lines: readonly Line[]): Promise<void> => {
      for (const line of lines) {
        while (answers.full) await answers.room();
        for (let room = db.room(); room !== undefined; room = db.room()) await room;
        begin(line, insert, answers, limits.maxLineBytes);
      }
    };
    let whole = false;
    try {
      if (head !== undefined) await submit(splitter.push(head));
      for await (const chunk of chunks(req, context.draining)) await submit(splitter.push(chunk));
      if (req.complete && req.readableEnded) {
        await submit(splitter.end());
        whole = true;
      }
    } catch (error) {
      context.logger.debug({ err: error }, 'a stream of inserts broke off');
    }
    await answers.allGiven();
    // Cut short (the client left, or the server shuts down): every line begun has its answer, and the last line is missing.
    const { inserted, failed } = answers;
    if (whole) writer.pushText(`${JSON.stringify({ done: true, inserted, failed })}\n`);
    writer.end();
  } finally {
    bodyMemory.give(reservedBytes);
  }
}

function begin(line: Line, insert: InsertLine, answers: AnswersInOrder, limit: number): void {
  const slot = answers.add(line);
  try {
    if (line.bytes === undefined) throw new Problem('too-large', `The line is over its limit of ${limit} bytes.`, { what: 'line', limit });
    insert(line.bytes).then(
      ({ records, replayed }) => answers.succeeded(slot, records[0]!.id, replayed),
      (error: unknown) => answers.failedWith(slot, error),
    );
  } catch (error) {
    answers.failedWith(slot, error);
  }
}

/** A line under way. */
class Slot {
  /** Its answer, once there is one. */
  text: string | undefined;
  inserted = false;

  constructor(
    readonly number: number,
    readonly bytes: number,
  ) {}
}

/** The lines of one stream that are under way: each is answered when it is settled and all before it are. */
class AnswersInOrder {
  inserted = 0;
  failed = 0;
  readonly #context: Exchange['context'];
  readonly #writer: LineWriter;
  #slots: Slot[] = [];
  #head = 0;
  #bytes = 0;
  /** The reader of the answers has not caught up. */
  #stalled = false;
  #wakeReader: (() => void) | undefined;
  #wakeEnd: (() => void) | undefined;

  constructor({ context }: Exchange, writer: LineWriter) {
    this.#context = context;
    this.#writer = writer;
  }

  get full(): boolean {
    const { linesInFlight, lineBytesInFlight } = this.#context.limits;
    return this.#count >= linesInFlight || this.#bytes >= lineBytesInFlight;
  }

  /** Resolves once half of it has gone: while one half is on its way to the disk the other one gathers. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeReader = resolve;
    });
  }

  async allGiven(): Promise<void> {
    if (this.#count === 0 && !this.#stalled) return;
    await new Promise<void>((resolve) => {
      this.#wakeEnd = resolve;
    });
  }

  add({ number, bytes }: Line): Slot {
    const slot = new Slot(number, bytes?.length ?? 0);
    this.#slots.push(slot);
    this.#bytes += slot.bytes;
    return slot;
  }

  succeeded(slot: Slot, id: string, replayed: boolean): void {
    slot.inserted = true;
    slot.text = `{"line":${slot.number},"id":"${id}"${replayed ? ',"replayed":true' : ''}}\n`;
    this.#give();
  }

  failedWith(slot: Slot, error: unknown): void {
    const problem = problemOf(error);
    if (problem.status >= 500) this.#context.logger.warn({ slug: problem.slug, err: problem.cause }, 'a line of a stream failed');
    slot.text = `${JSON.stringify({ line: slot.number, error: problem })}\n`;
    this.#give();
  }

  get #count(): number {
    return this.#slots.length - this.#head;
  }

  /** Writes what is settled, up to the first line that is not. */
  #give(): void {
    if (this.#stalled) return;
    for (let slot = this.#slots[this.#head]; slot?.text !== undefined; slot = this.#slots[this.#head]) {
      this.#head++;
      this.#bytes -= slot.bytes;
      if (slot.inserted) this.inserted++;
      else this.failed++;
      if (slot.inserted) this.#context.figures.lines.inserted++;
      else this.#context.figures.lines.failed++;
      if (this.#writer.pushText(slot.text)) {
        this.#stalled = true;
        void this.#writer.ready().then(() => {
          this.#stalled = false;
          this.#give();
        });
        break;
      }
    }
    if (this.#head >= 1024 || this.#count === 0) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    const { linesInFlight, lineBytesInFlight } = this.#context.limits;
    if (this.#wakeReader !== undefined && this.#count <= linesInFlight / 2 && this.#bytes <= lineBytesInFlight / 2) {
      this.#wakeReader();
      this.#wakeReader = undefined;
    }
    if (this.#count === 0 && !this.#stalled) this.#wakeEnd?.();
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
