import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { everyChooser, fixedChooser, randomChooser } from '../../engine/platform/chooser.js';

describe('choosers', () => {
  it('walk every path of the decision tree exactly once', () => {
    const seen: string[] = [];
    for (const chooser of everyChooser()) {
      const path = [chooser.next(2)];
      if (path[0] === 1) path.push(chooser.next(3), chooser.next(1), chooser.next(2));
      seen.push(path.join(''));
    }
    expect(seen).toEqual(['0', '1000', '1001', '1100', '1101', '1200', '1201']);
  });

  it('refuse questions that are not a function of the answers', () => {
    let asked = 0;
    expect(() => {
      for (const chooser of everyChooser()) {
        chooser.next(2 + asked++);
        chooser.next(2);
      }
    }).toThrow('question 0');
  });

  it('repeat themselves by seed and by their answers', () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(fc.integer({ min: 1, max: 9 })), (seed, questions) => {
        const [one, other] = [randomChooser(seed), randomChooser(seed)];
        const answers = questions.map((n) => one.next(n));
        for (const [i, answer] of answers.entries()) expect(answer).toBeLessThan(questions[i] ?? 0);
        expect(questions.map((n) => other.next(n))).toEqual(answers);
        const fixed = fixedChooser(answers);
        expect(questions.map((n) => fixed.next(n))).toEqual(answers);
      }),
    );
  });
});
