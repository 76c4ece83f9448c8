/**
 * TypeScript seen just closely enough to ask what it imports and which words stand in its code: comments and the contents of
 * strings and regular expressions are blanked out, everything else stays where it was. Nested templates are followed.
 * A slash begins a regular expression where a value cannot have ended before it.
 */

export interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

/** The same text, same length, with blanks for whatever is not code; quotes stay. */
export function codeOf(text: string): string {
  const out = [...text];
  /** For each open template expression, how many braces are open inside it. */
  const templates: number[] = [];
  const blank = (from: number, to: number): void => {
    for (let i = from; i < to; i++) if (out[i] !== '\n') out[i] = ' ';
  };
  let i = 0;
  while (i < text.length) {
    const char = text[i];
    const pair = text.slice(i, i + 2);
    let end = i + 1;
    if (pair === '//' || (pair === '#!' && i === 0)) {
      end = indexOrEnd(text, '\n', i);
      blank(i, end);
    } else if (pair === '/*') {
      end = indexOrEnd(text, '*/', i + 2) + 2;
      blank(i, end);
    } else if (char === "'" || char === '"') {
      end = stringEnd(text, i, char);
      blank(i + 1, end - 1);
    } else if (char === '/' && regexMayBegin(out, i)) {
      end = regexEnd(text, i);
      blank(i + 1, end - 1);
    } else if (char === '`' || (char === '}' && templates.at(-1) === 0)) {
      if (char === '}') templates.pop();
      end = templateEnd(text, i + 1);
      blank(i + 1, end - 1);
      if (text[end - 1] === '{') templates.push(0);
    } else if (templates.length > 0 && (char === '{' || char === '}')) {
      templates.push((templates.pop() ?? 0) + (char === '{' ? 1 : -1));
    }
    i = end;
  }
  return out.join('');
}

/** Static and dynamic imports and re-exports, in order. `import x = require()` and computed specifiers are not looked for. */
export function importsOf(text: string): Import[] {
  const code = codeOf(text);
  const found: Import[] = [];
  const statement = /\b(?:(?:import|export)(\s+type\b)?[^;'"`]*?\bfrom|import\s*\(?)\s*(['"])( *)\2/g;
  for (const match of code.matchAll(statement)) {
    const end = match.index + match[0].length - 1;
    const specifier = text.slice(end - (match[3]?.length ?? 0), end);
    found.push({ specifier, typeOnly: match[1] !== undefined, line: lineAt(text, match.index) });
  }
  return found;
}

export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

function indexOrEnd(text: string, what: string, from: number): number {
  const index = text.indexOf(what, from);
  return index < 0 ? text.length : index;
}

function stringEnd(text: string, start: number, quote: string): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === quote) return i + 1;
  }
  return text.length;
}

/** One past the closing backtick, or past the brace of `${`. */
function templateEnd(text: string, start: number): number {
  for (let i = start; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '`') return i + 1;
    else if (text.startsWith('${', i)) return i + 2;
  }
  return text.length;
}

function regexMayBegin(before: readonly string[], index: number): boolean {
  const last = before
    .slice(Math.max(0, index - 200), index)
    .join('')
    .trimEnd();
  return last === '' || /[([{,;:=!&|?+\-*%<>~^]$/.test(last) || /\b(?:return|typeof|case|in|of|yield|await|throw)$/.test(last);
}

function regexEnd(text: string, start: number): number {
  let inClass = false;
  for (let i = start + 1; i < text.length && text[i] !== '\n'; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '[') inClass = true;
    else if (text[i] === ']') inClass = false;
    else if (text[i] === '/' && !inClass) return i + 1;
  }
  return start + 1;
}
