/**
 * JSON.parse, also where the runtime's is wrong. V8 13.6 (Node 24, seen in 24.21) takes a key that is written with an escape for one that
 * an object before it had, where that one is as long and begins as the escape is written: after `{"a":[],"\\":[]}` it reads `{"a":[],"\"":[]}`
 * as `{"a":[],"\\":[]}`. Such a text is read here by hand; on other runtimes, and without escapes in keys, nothing is.
 */
import type { JsonValue } from '../types.js';

const isRight = ((): boolean => {
  JSON.parse('{"a":[],"\\\\":[]}');
  return Object.keys(JSON.parse('{"a":[],"\\"":[]}') as object)[1] === '"';
})();

/** Throws SyntaxError, as JSON.parse. */
export function parseJson(text: string): JsonValue {
  return isRight || !text.includes('\\') || !hasEscapedKey(text) ? (JSON.parse(text) as JsonValue) : parseByHand(text);
}

/** Undefined behaviour for what is no JSON, but for an end. */
function hasEscapedKey(text: string): boolean {
  for (let open = text.indexOf('"'); open >= 0; ) {
    const close = endOfString(text, open);
    if (text[skipSpace(text, close)] === ':' && text.lastIndexOf('\\', close) > open) return true;
    open = text.indexOf('"', close);
  }
  return false;
}

/** Behind the closing quote, or the end of the text. */
function endOfString(text: string, open: number): number {
  for (let i = open + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22) return i + 1;
    if (c === 0x5c) i++;
  }
  return text.length;
}

function skipSpace(text: string, from: number): number {
  let i = from;
  while (i < text.length && text.charCodeAt(i) <= 0x20) i++;
  return i;
}

/** Exported for its test: no runtime that is right comes here. */
export function parseByHand(text: string): JsonValue {
  // Says what is wrong, if anything is: from here on it is well-formed.
  JSON.parse(text);
  let at = 0;
  const next = (): string => text[(at = skipSpace(text, at))]!;
  const slice = (end: number): JsonValue => {
    const from = at;
    at = end;
    return JSON.parse(text.slice(from, end)) as JsonValue;
  };
  const members = (close: string, one: () => void): void => {
    at++;
    while (next() !== close) {
      one();
      if (next() === ',') at++;
    }
    at++;
  };
  const value = (): JsonValue => {
    const c = next();
    if (c === '"') return slice(endOfString(text, at));
    if (c === '[') {
      const items: JsonValue[] = [];
      members(']', () => void items.push(value()));
      return items;
    }
    if (c === '{') {
      const object: Record<string, JsonValue> = {};
      members('}', () => {
        next();
        const key = slice(endOfString(text, at)) as string;
        next();
        at++;
        // An assignment would set the prototype.
        if (key === '__proto__')
          Object.defineProperty(object, key, { value: value(), writable: true, enumerable: true, configurable: true });
        else object[key] = value();
      });
      return object;
    }
    let end = at;
    while (end < text.length && !',]}'.includes(text[end]!) && text.charCodeAt(end) > 0x20) end++;
    return slice(end);
  };
  return value();
}
