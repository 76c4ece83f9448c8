/**
 * A stream of inserts: lines come in, those of a chunk go to the engine at once, answers leave in order as each becomes durable.
 *
 *   request -> LineSplitter -> submit (up to N lines in flight, so that one sync covers many) -> answers in order -> LineWriter
 *
 * Plain lines go together, and are waited for together; any other by itself, between those before it and those behind it.
 *
 * Invariants: a bad line costs only itself; line n is answered before line n+1; no more than the limits' lines and bytes are in
 * flight, and a reader who does not read stops the reading of the request (backpressure both ways). `{"done":true}` is written only
 * when every line of a whole request has its answer; a crash or a disconnect leaves a stream without it, and every line answered
 * with an id durable.
 */
import type { IncomingMessage } from 'node:http';
import { type InsertedPart, type InsertResult, recordId } from '../engine/index.js';
import { beginStream } from './answers.js';
import { database, type Exchange } from './exchange.js';
import { type Line, LineSplitter, LineWriter } from './ndjson.js';
import { enterStream } from './overload.js';
import { Problem, problemOf } from './problem.js';

/** Called in the order of the lines; the order of the calls is the order in the log. */
export interface InsertLines {
  /** Inserts what one line says, or throws. */
  one(bytes: Buffer): Promise<InsertResult>;
  /** Inserts the lines from `from` on that are plain, no more than these; undefined where the first is not, or none is to be taken so. */
  readonly run: ((lines: readonly Line[], from: number, maxLines: number, maxBytes: number) => Run | undefined) | undefined;
}

/** Lines that follow each other. */
export interface Run {
  readonly lines: number;
  readonly bytes: number;
  /** Undefined: nothing was inserted, and they have to go one by one. */
  readonly parts: readonly InsertedPart[] | undefined;
}

/** `head`: what of the request has been read already. */
export async function insertStream(exchange: Exchange, insert: InsertLines, head?: Buffer): Promise<void> {
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
      /** Up to here they go one by one. */
      let single = 0;
      for (let i = 0; i < lines.length; ) {
        while (answers.full) await answers.room();
        for (let room = db.room(); room !== undefined; room = db.room()) await room;
        const run = i < single ? undefined : insert.run?.(lines, i, answers.roomLines, answers.roomBytes);
        if (run?.parts !== undefined) answers.await(lines, i, run, run.parts);
        else if (run !== undefined) single = i + run.lines;
        else begin(lines[i]!, insert, answers, limits.maxLineBytes);
        i += run === undefined ? 1 : run.parts === undefined ? 0 : run.lines;
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

function begin(line: Line, insert: InsertLines, answers: AnswersInOrder, limit: number): void {
  const { number, bytes } = line;
  const slot = answers.add(1, bytes?.length ?? 0);
  try {
    if (bytes === undefined) throw new Problem('too-large', `The line is over its limit of ${limit} bytes.`, { what: 'line', limit });
    insert.one(bytes).then(
      ({ records, replayed }) => answers.settle(slot, insertedText(number, records[0]!.id, replayed), 1, 0),
      (error: unknown) => answers.settle(slot, answers.failedText(error)(number), 0, 1),
    );
  } catch (error) {
    answers.settle(slot, answers.failedText(error)(number), 0, 1);
  }
}

function insertedText(number: number, id: string, replayed = false): string {
  return `{"line":${number},"id":"${id}"${replayed ? ',"replayed":true' : ''}}\n`;
}

/** Lines under way that are answered together. */
class Slot {
  /** Their answers, once there are all. */
  text: string | undefined;
  inserted = 0;
  failed = 0;

  constructor(
    readonly lines: number,
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
  #count = 0;
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
    return this.roomLines <= 0 || this.roomBytes <= 0;
  }

  get roomLines(): number {
    return this.#context.limits.linesInFlight - this.#count;
  }

  get roomBytes(): number {
    return this.#context.limits.lineBytesInFlight - this.#bytes;
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

  add(lines: number, bytes: number): Slot {
    const slot = new Slot(lines, bytes);
    this.#slots.push(slot);
    this.#count += lines;
    this.#bytes += bytes;
    return slot;
  }

  /** Answers the lines of a run, from `from` on, once all of it is settled. */
  await(lines: readonly Line[], from: number, run: Run, parts: readonly InsertedPart[]): void {
    const slot = this.add(run.lines, run.bytes);
    const texts = new Array<string>(run.lines);
    let open = parts.length;
    let failed = 0;
    for (const { positions, inserted } of parts) {
      const count = positions?.length ?? run.lines;
      /** `textOf` gets the line's number and its place in the part. */
      const settle = (textOf: (number: number, place: number) => string) => {
        for (let place = 0; place < count; place++) {
          const position = positions === undefined ? place : positions[place]!;
          texts[position] = textOf(lines[from + position]!.number, place);
        }
        if (--open === 0) this.settle(slot, texts.join(''), run.lines - failed, failed);
      };
      inserted.then(
        ({ records: [first] }) => settle((number, place) => insertedText(number, recordId(first!.shard, first!.seq + place))),
        (error: unknown) => {
          failed += count;
          settle(this.failedText(error));
        },
      );
    }
  }

  settle(slot: Slot, text: string, inserted: number, failed: number): void {
    slot.text = text;
    slot.inserted = inserted;
    slot.failed = failed;
    this.#give();
  }

  failedText(error: unknown): (number: number) => string {
    const problem = problemOf(error);
    if (problem.status >= 500) this.#context.logger.warn({ slug: problem.slug, err: problem.cause }, 'a line of a stream failed');
    return (number) => `${JSON.stringify({ line: number, error: problem })}\n`;
  }

  /** Writes what is settled, up to the first line that is not. */
  #give(): void {
    if (this.#stalled) return;
    for (let slot = this.#slots[this.#head]; slot?.text !== undefined; slot = this.#slots[this.#head]) {
      this.#head++;
      this.#count -= slot.lines;
      this.#bytes -= slot.bytes;
      this.inserted += slot.inserted;
      this.failed += slot.failed;
      this.#context.figures.lines.inserted += slot.inserted;
      this.#context.figures.lines.failed += slot.failed;
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
