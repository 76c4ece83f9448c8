/**
 * Says where and why a value cannot be held as JSON: walked again, slowly, once canonical-json.ts has refused it, so that the
 * way that succeeds need not know where it is. Crash-free by depth: it goes no deeper than what may be stored.
 */
import { VarveError } from '../errors.js';
import { MAX_JSON_DEPTH } from './limits.js';

const LONE_SURROGATE = /[\ud800-\udfff]/u;
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;
const MAX_SHOWN_CHARS = 60;

interface Problem {
  readonly path: string;
  readonly found: string;
  readonly expected: string;
}

/** Plain: made by `{}`, JSON.parse or Object.create(null), in this realm or another (whose Object.prototype has no prototype either). */
export function isPlain(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The INVALID error for the first thing in `value` that JSON cannot hold. */
export function describeProblem(value: unknown, path: string): VarveError<'INVALID'> {
  // A getter may answer differently the second time; then only this is known.
  const problem = find(value, path, 0) ?? { path, found: 'something JSON cannot hold', expected: 'a JSON value' };
  return new VarveError('INVALID', `${problem.path}: ${problem.found}; expected ${problem.expected}`, {
    path: problem.path,
    expected: problem.expected,
  });
}

/** `a`, `a.b`, `a[0]`, `a["odd key"]`. */
export function childPath(parent: string, key: string | number): string {
  if (typeof key === 'number') return `${parent}[${key}]`;
  return IDENTIFIER.test(key) ? `${parent}.${key}` : `${parent}[${shorten(JSON.stringify(key))}]`;
}

function find(value: unknown, path: string, depth: number): Problem | undefined {
  switch (typeof value) {
    case 'boolean':
      return undefined;
    case 'string':
      return LONE_SURROGATE.test(value) ? { path, found: 'a string with a lone surrogate', expected: 'well-formed Unicode' } : undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : { path, found: `${value}`, expected: 'a finite number, or null' };
    case 'bigint':
      return { path, found: 'a bigint', expected: 'a number if it is safe as one, or a string' };
    case 'object':
      return value === null ? undefined : findInside(value, path, depth);
    default:
      return {
        path,
        found: typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`,
        expected: 'a JSON value, or the property left out',
      };
  }
}

function findInside(value: object, path: string, depth: number): Problem | undefined {
  if (depth === MAX_JSON_DEPTH)
    return {
      path: shorten(path),
      found: `more than ${MAX_JSON_DEPTH} levels`,
      expected: `at most ${MAX_JSON_DEPTH} arrays and objects inside each other`,
    };
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const inside = childPath(path, i);
      if (!(i in value)) return { path: inside, found: 'a hole in an array', expected: 'a JSON value, such as null' };
      const problem = find(value[i], inside, depth + 1);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
  if (!isPlain(value)) return instanceProblem(value, path);
  for (const [key, inner] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const inside = childPath(path, key);
    if (LONE_SURROGATE.test(key)) return { path: inside, found: 'a key with a lone surrogate', expected: 'well-formed Unicode' };
    const problem = find(inner, inside, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function instanceProblem(value: object, path: string): Problem {
  const name = Object.prototype.toString.call(value).slice(8, -1);
  const given = value.constructor?.name || name;
  if (name === 'Date') return { path, found: 'a Date', expected: 'its text, as toISOString() gives it' };
  if (name === 'Map') return { path, found: 'a Map', expected: 'a plain object: Object.fromEntries(map)' };
  if (name === 'Set') return { path, found: 'a Set', expected: 'an array: [...set]' };
  if (ArrayBuffer.isView(value)) return { path, found: `a ${given}`, expected: 'an array of numbers, or a base64 string' };
  return { path, found: `an instance of ${shorten(given)}`, expected: 'a plain object' };
}

function shorten(text: string): string {
  return text.length <= MAX_SHOWN_CHARS ? text : `${text.slice(0, MAX_SHOWN_CHARS - 20)}…${text.slice(-19)}`;
}
