import { describe, expect, it } from 'vitest';
import { codeOf, importsOf } from './source-text.js';

describe('source text', () => {
  it('finds every form of import with its line', () => {
    const text = [
      "import './a.js';",
      "import type { B } from './b.js';",
      'import {\n  c, // from "no.js"\n} from "./c.js";',
      "export * from './d.js';",
      "export type { E } from './e.js';",
      "const f = await import('./f.js');",
    ].join('\n');
    expect(importsOf(text)).toEqual([
      { specifier: './a.js', typeOnly: false, line: 1 },
      { specifier: './b.js', typeOnly: true, line: 2 },
      { specifier: './c.js', typeOnly: false, line: 3 },
      { specifier: './d.js', typeOnly: false, line: 6 },
      { specifier: './e.js', typeOnly: true, line: 7 },
      { specifier: './f.js', typeOnly: false, line: 8 },
    ]);
  });

  it('takes nothing from comments, strings, templates and regular expressions', () => {
    const text = [
      "// import './a.js'",
      "/* import './b.js' */",
      'const a = "import \'./c.js\'";',
      "const b = `import './d.js' $" + "{'import'} x`;",
      "const c = /import '.[/].*'/.test(a) ? Array.from('./e.js') : 1 / 2;",
    ].join('\n');
    expect(importsOf(text)).toEqual([]);
    expect(codeOf(text)).toHaveLength(text.length);
    expect(codeOf(text)).not.toContain('./');
  });

  it('keeps the code inside a template', () => {
    expect(codeOf('`a $' + '{f({ b: `c $' + '{Date.now()}` })} d` + Math.random()')).toMatch(/f\(\{ b: .*Date\.now\(\).*Math\.random\(\)/);
  });
});
