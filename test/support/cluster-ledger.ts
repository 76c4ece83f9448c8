/**
 * What a cluster promised to its clients, and what its nodes said since: the one place that decides whether a promise was broken.
 *
 *   attempt -> local | quorum | refused | unknown        seen(id, content) from every node, at any time
 *
 * Held here: no id ever names two contents, whoever says it; what a quorum acknowledged is there in the end, under its id; what was
 * only acknowledged locally is there, or was set aside by a node that says so; what was refused outright never appears.
 */
import assert from 'node:assert/strict';

export type Outcome = 'pending' | 'local' | 'quorum' | 'refused' | 'unknown';

export interface Attempt {
  readonly content: string;
  outcome: Outcome;
  id: string | undefined;
}

export class ClusterLedger {
  readonly attempts: Attempt[] = [];
  readonly #contents = new Map<string, string>();
  readonly #attemptOf = new Map<string, Attempt>();
  #serial = 0;

  get acknowledged(): number {
    return this.attempts.filter(({ outcome }) => outcome === 'local' || outcome === 'quorum').length;
  }

  get safe(): readonly Attempt[] {
    return this.attempts.filter(({ outcome }) => outcome === 'quorum');
  }

  /** Contents are unique, so that finding one tells which attempt it was. */
  begin(): Attempt {
    const attempt: Attempt = { content: `content ${++this.#serial}`, outcome: 'pending', id: undefined };
    this.attempts.push(attempt);
    this.#attemptOf.set(attempt.content, attempt);
    return attempt;
  }

  answered(attempt: Attempt, outcome: Outcome, id?: string): void {
    attempt.outcome = outcome;
    if (id === undefined) return;
    attempt.id = id;
    this.seen(id, attempt.content, 'an answer');
  }

  /** `where` says that this id has this content. */
  seen(id: string, content: string, where: string): void {
    const known = this.#contents.get(id);
    assert.ok(known === undefined || known === content, `${where}: ${id} is '${content}', and was '${known}' before`);
    this.#contents.set(id, content);
    const attempt = this.#attemptOf.get(content);
    assert.ok(attempt !== undefined, `${where}: nobody ever wrote '${content}'`);
    assert.ok(attempt.outcome !== 'refused', `${where}: '${content}' was refused, and is there as ${id}`);
    assert.ok(attempt.id === undefined || attempt.id === id, `${where}: '${content}' is ${id}, and was acknowledged as ${attempt.id}`);
  }

  /** In the end: `present` are the records of the healed cluster, `aside` those that its nodes took out and kept. */
  settle(present: ReadonlyMap<string, string>, aside: ReadonlyMap<string, string>): void {
    for (const [id, content] of present) this.seen(id, content, 'the healed cluster');
    for (const [id, content] of aside) this.seen(id, content, 'what was set aside');
    for (const { outcome, id, content } of this.attempts) {
      if (id === undefined) continue;
      if (outcome === 'quorum') assert.equal(present.get(id), content, `${id} was acknowledged by a quorum, and is lost`);
      if (outcome === 'local') assert.ok(present.has(id) || aside.has(id), `${id} was acknowledged, is gone, and was set aside nowhere`);
    }
  }
}
