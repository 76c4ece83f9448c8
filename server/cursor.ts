/**
 * Cursors: where a paged answer goes on, and of which point in time. Opaque to clients: base64url of a small JSON array with a
 * version, the question it belongs to, and the place.
 *
 * Invariants: a cursor goes on with the very question it came from (parameters given again must be the same, those left out are
 * taken from it) and holds the positions of its point in time, so that later pages never see later writes. It comes back from
 * strangers: everything in it is checked, and whatever does not fit is one 400.
 */
import { z } from 'zod';
import { invalid, type Problem } from './problem.js';

const VERSION = 1;

/** The question, as normalized strings: database, route, path and query parameters. */
export type Question = Readonly<Record<string, string>>;

const envelope = z.tuple([z.literal(VERSION), z.record(z.string(), z.string()), z.unknown()]);

export const seq = z
  .number()
  .int()
  .min(0)
  .max(2 ** 48 - 1);
/** Positions of a view, one a shard. */
export const positions = z.array(seq.nullable()).min(1).max(65_535);

function refuse(): Problem {
  return invalid('cursor', 'a cursor as an earlier page of the same question gave it');
}

export function encodeCursor(question: Question, place: unknown): string {
  return Buffer.from(JSON.stringify([VERSION, question, place])).toString('base64url');
}

/**
 * The question and the place of a cursor. `fixed` must be the same in it; of `given` (parameters the client sent again) each must
 * be the same or is refused.
 */
export function decodeCursor<S extends z.ZodType>(
  text: string,
  fixed: Question,
  given: Question,
  place: S,
): { question: Question; place: z.output<S> } {
  if (!/^[A-Za-z0-9_-]+$/.test(text)) throw refuse();
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw refuse();
  }
  const whole = envelope.safeParse(parsed);
  if (!whole.success) throw refuse();
  const [, question, rawPlace] = whole.data;
  for (const [name, value] of Object.entries(fixed)) if (question[name] !== value) throw refuse();
  for (const [name, value] of Object.entries(given)) {
    if (question[name] !== value)
      throw invalid(name, 'the value of the first page, or none', `${name} is not what the cursor's first page was asked with`);
  }
  const checked = place.safeParse(rawPlace);
  if (!checked.success) throw refuse();
  return { question, place: checked.data };
}
