/**
 * From one JSON value to another as a JSON Patch (RFC 6902), in bounded time.
 *
 * rfc6902 finds the shortest patch, which for two arrays costs the product of their lengths, at every level again. So arrays go to it
 * only while they are short and a budget for the whole patch lasts; longer ones keep what is equal at both ends, and are compared
 * place by place between. Values come from stored bodies: sorted keys, at most 64 levels, so equal values have equal text.
 *
 * Invariants: applied to `from`, the patch gives `to`, whatever was bounded; it is never much longer than putting `to` in place of it all.
 */
import { createPatch, type Operation } from 'rfc6902';
import type { JsonValue } from '../engine/index.js';

/** What looking for the shortest patch may cost, over all arrays of one patch: pairs of elements, and 64 characters of theirs each. */
const BUDGET = 16_384;
const CHARS = 64;
/** An array longer than this is not one of them. */
const SHORT = 64;
/** Objects of more keys are put in place whole, and so are arrays with more places that differ. */
const MAX_KEYS = 4096;
const MAX_PLACES = 4096;
/** A patch may be so much longer than the new value whole: it says more. */
const LONGER_CHARS = 1024;

type Shape = 'array' | 'object' | 'other';

export function patchOf(from: JsonValue, to: JsonValue): Operation[] {
  const budget = { left: BUDGET };
  const patch = differences(from, to, budget);
  const whole: Operation[] = [{ op: 'replace', path: '', value: to }];
  return patch.length > 0 && JSON.stringify(patch).length > JSON.stringify(whole).length + LONGER_CHARS ? whole : patch;
}

function differences(from: JsonValue, to: JsonValue, budget: { left: number }): Operation[] {
  return createPatch(from, to, (a: JsonValue, b: JsonValue, pointer): Operation[] | undefined => {
    const shape = shapeOf(a);
    if (shape === 'other' || shape !== shapeOf(b)) return undefined;
    const path = pointer.toString();
    if (shape === 'object') return keysOf(a) > MAX_KEYS || keysOf(b) > MAX_KEYS ? replaced(a, b, path) : undefined;
    const [before, after] = [a as JsonValue[], b as JsonValue[]];
    if (before.length <= SHORT && after.length <= SHORT) {
      const chars = after.length * JSON.stringify(before).length + before.length * JSON.stringify(after).length;
      const cost = before.length * after.length + chars / CHARS;
      if (cost <= budget.left) {
        budget.left -= cost;
        return undefined;
      }
    }
    return placeByPlace(before, after, path, budget);
  });
}

function replaced(from: JsonValue, to: JsonValue, path: string): Operation[] {
  return JSON.stringify(from) === JSON.stringify(to) ? [] : [{ op: 'replace', path, value: to }];
}

/** Linear: what is equal at the beginning and at the end stays, the rest is compared in place, what is left over goes or comes. */
function placeByPlace(from: readonly JsonValue[], to: readonly JsonValue[], path: string, budget: { left: number }): Operation[] {
  const before = from.map((value) => JSON.stringify(value));
  const after = to.map((value) => JSON.stringify(value));
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let tail = 0;
  while (tail < shorter - start && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const [beforeEnd, afterEnd] = [before.length - tail, after.length - tail];
  const inBoth = Math.min(beforeEnd, afterEnd);
  let places = Math.max(beforeEnd, afterEnd) - inBoth;
  for (let index = start; index < inBoth; index++) if (before[index] !== after[index]) places++;
  if (places > MAX_PLACES) return [{ op: 'replace', path, value: [...to] }];
  const operations: Operation[] = [];
  let at = start;
  for (; at < inBoth; at++) {
    if (before[at] === after[at]) continue;
    for (const operation of differences(from[at] as JsonValue, to[at] as JsonValue, budget))
      operations.push({ ...operation, path: `${path}/${at}${operation.path}` } as Operation);
  }
  for (let index = beforeEnd - 1; index >= at; index--) operations.push({ op: 'remove', path: `${path}/${index}` });
  for (; at < afterEnd; at++) operations.push({ op: 'add', path: `${path}/${at}`, value: to[at] });
  return operations;
}

function shapeOf(value: JsonValue): Shape {
  if (value === null || typeof value !== 'object') return 'other';
  return Array.isArray(value) ? 'array' : 'object';
}

function keysOf(value: JsonValue): number {
  return Object.keys(value as object).length;
}
