/**
 * Who decides what a power cut leaves behind.
 *
 * A crash asks a series of questions with `n` possible answers each (is this sector kept? how long is the
 * file?); a chooser answers them. Answer 0 is always the oldest state, `n - 1` the newest. How many questions
 * come depends on the answers before, so all crashes together are a tree of decisions: `randomChooser` takes
 * one path down it, `everyChooser` takes each path once.
 */
import { SeededRandom } from './seeded-random.js';

export interface Chooser {
  /** An integer from 0 to `n` - 1. */
  next(n: number): number;
}

/** Nothing unsynced survives. */
export const loseEverything: Chooser = { next: () => 0 };

/** Everything written survives, as if the cache had just been written back. */
export const keepEverything: Chooser = { next: (n) => n - 1 };

/**
 * Random answers. Fair coins alone would hardly ever keep a frame of many sectors whole, nor lose just one
 * sector of it, so each chooser has a leaning: fair, mostly newest, mostly oldest, or all but one.
 */
export function randomChooser(seed: number): Chooser {
  const random = new SeededRandom(seed);
  const leaning = random.pick(['fair', 'newest', 'oldest', 'newest-but-few'] as const);
  return {
    next: (n) => {
      const other = leaning === 'fair' || random.oneIn(leaning === 'newest-but-few' ? 32 : 4);
      if (other) return random.below(n);
      return leaning === 'oldest' ? 0 : n - 1;
    },
  };
}

/** The given answers in order, oldest once they are used up. For replaying one crash. */
export function fixedChooser(answers: readonly number[]): Chooser {
  let asked = 0;
  return { next: (n) => Math.min(answers[asked++] ?? 0, n - 1) };
}

/**
 * One chooser for every path through the decision tree, each once. Use each up (with one `crash`) before taking
 * the next. The questions must depend on nothing but the answers.
 */
export function* everyChooser(): Generator<Chooser & { readonly answers: readonly number[] }> {
  // The path taken last: at each question the answer and how many there were.
  const path: { answer: number; n: number }[] = [];
  for (;;) {
    const answers: number[] = [];
    yield {
      answers,
      next: (n) => {
        if (n <= 1) return 0;
        let step = path[answers.length];
        if (step === undefined) {
          step = { answer: 0, n };
          path.push(step);
        }
        if (step.n !== n) throw new Error(`question ${answers.length} had ${step.n} answers before and has ${n} now`);
        answers.push(step.answer);
        return step.answer;
      },
    };
    path.length = answers.length;
    let last = path.at(-1);
    while (last !== undefined && last.answer === last.n - 1) {
      path.pop();
      last = path.at(-1);
    }
    if (last === undefined) return;
    last.answer++;
  }
}
