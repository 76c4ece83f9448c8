import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseByHand, parseJson } from '../../engine/format/parse-json.js';

describe('parsing JSON', () => {
  it('tells keys apart that are written with escapes, after others that nearly look like them', () => {
    for (const [before, text, keys] of [
      ['{"a":[],"\\\\":[]}', '{"a":[],"\\"":[]}', ['a', '"']],
      ['{"a":1,"b\\\\":1}', '{"a":1,"b\\n" :1}', ['a', 'b\n']],
      ['{"\\\\u0":1}', '{"\\u0041bc":1}', ['Abc']],
    ] as const) {
      parseJson(before);
      expect(Object.keys(parseJson(text) as object)).toEqual(keys);
    }
  });

  it('by hand is what JSON.parse makes, member order and all', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5, stringUnit: 'binary' }), fc.constantFrom(undefined, 2, '\t'), (json, indent) => {
        const text = JSON.stringify(JSON.parse(json), null, indent);
        const [mine, theirs] = [parseByHand(text), JSON.parse(text)];
        expect(mine).toEqual(theirs);
        expect(JSON.stringify(mine)).toBe(JSON.stringify(theirs));
      }),
    );
    const odd =
      ' { "__proto__" : { "b" : 1 } , "2":0,"1":-1.5e3, "\\"":[ ] ,"\\u0041":"\\\\\\"", "2": null , "e":{ } , "f":[true,false , null]} ';
    expect(JSON.stringify(parseByHand(odd))).toBe(JSON.stringify(JSON.parse(odd)));
  });

  it('throws for what is no JSON', () => {
    for (const text of ['', '{"\\n"', '{"a\\":1}', '{"a\\n":1,}', '"\\'])
      for (const parse of [parseJson, parseByHand]) expect(() => parse(text)).toThrow(SyntaxError);
  });
});
