/** A moment of every fuzzer with another seed each time; `npx tsx tools/fuzz/run.ts` gives them hours. */
import { describe, expect, it } from 'vitest';
import { exactForm } from './exact-form.js';
import { fuzz, TARGETS } from './targets.js';

const MILLISECONDS = Number(process.env['FUZZ_MS'] ?? 1000);
/** These do not come to much in a second. */
const SLOW = new Set(['files', 'http', 'feed']);
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

describe(`fuzzing, seed ${seed}`, () => {
  it.each(TARGETS.map((target) => [target.name, target] as const))('finds nothing in %s', async (_name, target) => {
    const { runs, failure } = await fuzz(target, MILLISECONDS * (SLOW.has(target.name) ? 3 : 1), seed);
    expect(failure).toBeUndefined();
    expect(runs).toBeGreaterThan(0);
  });
});

describe('the exact form of a text', () => {
  const form = (text: string) => exactForm(Buffer.from(text));

  it('tells apart what is different, and nothing else', () => {
    const same = [
      ['1', '1.0', '10e-1', '0.1E+1'],
      ['0', '-0', '0e99'],
      ['9007199254740993', '9007199254740993.0'],
      ['"a"', '"\\u0061"'],
      ['{"a":1,"b":2}', '{ "b":2, "a":1.0 }'],
    ];
    const forms = same.map((texts) => texts.map(form));
    for (const group of forms) expect(new Set(group).size).toBe(1);
    expect(new Set(forms.map(([first]) => first)).size).toBe(same.length);
    expect(form('9007199254740993')).not.toBe(form('9007199254740992'));
    expect(form('{"a":1,"a":1}')).not.toBe(form('{"a":1}'));
    for (const text of ['', '{', '01', '1 2', '[1,]', '"\n"', '\ufeff1', '{"a"}']) expect(form(text), text).toBeUndefined();
  });
});
