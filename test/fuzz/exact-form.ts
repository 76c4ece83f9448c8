/**
 * What a JSON text says, exactly, by a reader that shares nothing with the one under test: numbers as decimal fractions of any
 * length, strings as code units, keys in order and as often as they stand there. Two texts say the same if and only if their forms
 * are equal; so a text and what is stored for it must have one form. Undefined for what is no JSON.
 */

export function exactForm(bytes: Uint8Array): string | undefined {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
  const tokens = [...text.matchAll(TOKEN)];
  if (tokens.map(([token]) => token).join('') !== text) return undefined;
  const reader = new Reader(tokens.map(([token]) => token).filter((token) => !/^[ \t\r\n]+$/.test(token)));
  try {
    const form = reader.value();
    return reader.ended ? form : undefined;
  } catch {
    return undefined;
  }
}

const TOKEN =
  /[ \t\r\n]+|[[\]{}:,]|true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/gy;

class Reader {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  get ended(): boolean {
    return this.#at === this.#tokens.length;
  }

  value(): string {
    const token = this.#next();
    if (token === '[') return `[${this.#list(']', () => this.value()).join(',')}]`;
    if (token === '{') {
      const members = this.#list('}', () => {
        const key = this.#next();
        if (key[0] !== '"' || this.#next() !== ':') throw new Error('no member');
        return `${codeUnits(key)}:${this.value()}`;
      });
      return `{${members.sort().join(',')}}`;
    }
    if (token[0] === '"') return codeUnits(token);
    if (/^(?:true|false|null)$/.test(token)) return token;
    if (/^[-\d]/.test(token)) return fraction(token);
    throw new Error('no value');
  }

  #list(close: string, item: () => string): string[] {
    const items: string[] = [];
    if (this.#tokens[this.#at] === close) {
      this.#at++;
      return items;
    }
    for (;;) {
      items.push(item());
      const token = this.#next();
      if (token === close) return items;
      if (token !== ',') throw new Error('no comma');
    }
  }

  #next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Error('cut short');
    return token;
  }
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function codeUnits(token: string): string {
  const text = token
    .slice(1, -1)
    .replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (_all, hex: string | undefined, short: string) =>
      hex === undefined ? (ESCAPES[short] ?? short) : String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return `"${Array.from({ length: text.length }, (_, at) => text.charCodeAt(at).toString(16)).join(' ')}"`;
}

/** Sign, digits without zeros at either end, and the power of ten of the last one. */
function fraction(token: string): string {
  const [, sign = '', whole = '', part = '', power = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const digits = (whole + part).replace(/^0+/, '');
  const short = digits.replace(/0+$/, '');
  // Zero has no sign here: -0 and 0 are one number.
  if (short === '') return '0';
  return `${sign}${short}e${BigInt(power) - BigInt(part.length) + BigInt(digits.length - short.length)}`;
}
