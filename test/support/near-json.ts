/** Bytes that are JSON, nearly are, or have nothing of it: what parsers are to agree about. */
import fc from 'fast-check';

/** Any well-formed text in its strings. */
export const jsonValue = fc.jsonValue({ stringUnit: 'binary', maxDepth: 5 });

const piece = fc.constantFrom(
  ...'{ } [ ] , : " "a" "b": "a":1 \\ \\u d800 dc00 \\n 1 0 - . e E+ true nul null é \u{1f600}'.split(' '),
  ...[' ', '\n', '\u0001', '\ufeff', '"\\ud83d\\ude00"', '"\\udead"', '"\\u00zz"'],
);

export const nearJson: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.array(piece, { maxLength: 14 }).map((parts) => Buffer.from(parts.join(''))),
  fc.tuple(jsonValue, fc.nat(), fc.nat(255)).map(([value, place, byte]) => {
    const mutated = Buffer.from(JSON.stringify(value));
    mutated[place % mutated.length] = byte;
    return mutated;
  }),
);
