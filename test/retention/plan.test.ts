import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KIND_PUT, KIND_TOMBSTONE } from '../../engine/log/types.js';
import { type DropPlan, type PlanEdges, type PlanEntity, planDrops } from '../../engine/retention/plan.js';
import type { Retention } from '../../engine/retention/policy.js';

const DAY = 86_400e6;

interface Told {
  readonly collection: string;
  readonly versions: readonly { readonly seq: number; readonly time: number; readonly kind: number }[];
}

/** As columns that are used again for the next one. */
function* columns(entities: readonly Told[]): Generator<PlanEntity> {
  const entity = { collection: '', count: 0, seqs: [0], times: [0], kinds: [0] };
  for (const { collection, versions } of entities) {
    entity.collection = collection;
    entity.count = versions.length;
    for (const [i, { seq, time, kind }] of versions.entries()) [entity.seqs[i], entity.times[i], entity.kinds[i]] = [seq, time, kind];
    yield entity;
  }
}

function plan(
  entities: readonly Told[],
  retention: Retention,
  more: { snapshots?: number[]; now?: number; edges?: PlanEdges[] } = {},
): DropPlan {
  const planning = planDrops(
    { retentionOf: () => retention, snapshots: more.snapshots ?? [], now: more.now ?? 0 },
    () => columns(entities),
    () => more.edges ?? [],
  );
  for (;;) {
    const { done, value } = planning.next();
    if (done === true) return value as DropPlan;
  }
}

/** Newest first; `d` a tombstone. Seq 10, 20, … from the oldest, a day apart. */
function entity(text: string, collection = 'c', first = 10): Told {
  const versions = [...text].map((letter, i) => {
    const n = text.length - i;
    return { seq: first + (n - 1) * 10, time: n * DAY, kind: letter === 'd' ? KIND_TOMBSTONE : KIND_PUT };
  });
  return { collection, versions };
}

const dropped = (found: DropPlan) => [...found.drops.values()];

describe('a plan of what to drop', () => {
  it('keeps everything, or the last versions with tombstones among them', () => {
    expect(dropped(plan([entity('ppdp')], { keep: 'all' }))).toEqual([]);
    expect(dropped(plan([entity('pdpp')], { keep: 'last', versions: 2 }))).toEqual([10, 20]);
    expect(dropped(plan([entity('dp')], { keep: 'last', versions: 1 }))).toEqual([10]);
    expect(dropped(plan([entity('d')], { keep: 'last', versions: 1 }))).toEqual([]);
  });

  it('keeps what a duration covers and what was current at its start', () => {
    const days = (n: number): Retention => ({ keep: 'for', duration: `P${n}D` });
    // Days 1 to 4; now is day 5.
    expect(dropped(plan([entity('pppp')], days(2), { now: 5 * DAY }))).toEqual([10, 20]);
    expect(dropped(plan([entity('pppp')], days(9), { now: 5 * DAY }))).toEqual([]);
    expect(dropped(plan([entity('pppp')], days(1), { now: 50 * DAY }))).toEqual([10, 20, 30]);
  });

  it('lets an old tombstone go with what it ended, and keeps it where that stays', () => {
    const old: Retention = { keep: 'for', duration: 'P1D' };
    const now = 50 * DAY;
    expect(dropped(plan([entity('dpp')], old, { now }))).toEqual([10, 20, 30]);
    expect(plan([entity('dpp')], old, { now }).horizons.get('c')).toEqual({ seq: 30, time: 3 * DAY });
    // A snapshot sees the version of day 1: were the tombstone gone, the entity would be alive again.
    expect(dropped(plan([entity('dpp')], old, { now, snapshots: [15] }))).toEqual([20]);
    // A ref brings it back, the same.
    expect(dropped(plan([entity('dpp')], old, { now, edges: [{ seq: 99, refs: [10] }] }))).toEqual([20]);
    // Somebody refers to the tombstone itself.
    expect(dropped(plan([entity('dpp')], old, { now, edges: [{ seq: 99, refs: [30] }] }))).toEqual([10, 20]);
    expect(dropped(plan([entity('dpp')], old, { now, snapshots: [30] }))).toEqual([10, 20]);
  });

  it('keeps what kept records refer to, and what those refer to', () => {
    const one: Retention = { keep: 'last', versions: 1 };
    const edges = [
      { seq: 40, refs: [30] },
      { seq: 30, refs: [10] },
      { seq: 20, refs: [11] },
    ];
    expect(dropped(plan([entity('pppp'), entity('pp', 'd', 11)], one, { edges }))).toEqual([11, 20]);
  });

  it('raises the horizon to where the last of the dropped stopped being current', () => {
    const one: Retention = { keep: 'last', versions: 1 };
    const entities = [entity('ppp'), entity('pp', 'c', 15), entity('p', 'other', 17)];
    expect([...plan(entities, one).horizons]).toEqual([['c', { seq: 30, time: 3 * DAY }]]);
    expect([...plan(entities, one, { edges: [{ seq: 30, refs: [20] }] }).horizons]).toEqual([['c', { seq: 25, time: 2 * DAY }]]);
  });

  it('never drops what a snapshot sees, what is newest and alive, or what is referred to; and answers from its horizon on stay', () => {
    const versions = fc.array(fc.constantFrom('p', 'd'), { minLength: 1, maxLength: 6 });
    const retention = fc.oneof(
      fc.record({ keep: fc.constant('last' as const), versions: fc.integer({ min: 1, max: 4 }) }),
      fc.nat(8).map((days) => ({ keep: 'for' as const, duration: `P${days}D` })),
    );
    const input = fc.record({
      histories: fc.array(versions, { minLength: 1, maxLength: 4 }),
      retention,
      snapshots: fc.uniqueArray(fc.nat(70), { maxLength: 3 }),
      now: fc.nat(10),
      edges: fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { maxLength: 4 }),
    });
    fc.assert(
      fc.property(input, ({ histories, retention, snapshots, now, edges }) => {
        const entities = histories.map((letters, e) => {
          const made = entity(letters.join(''));
          // Seqs of their own: 10·n + e.
          return { ...made, versions: made.versions.map((version) => ({ ...version, seq: version.seq + e })) };
        });
        const all = entities.flatMap((each) => each.versions).sort((a, b) => a.seq - b.seq);
        const refs = edges
          .map(([from, to]) => ({ seq: all[from % all.length]!.seq, refs: [all[to % all.length]!.seq] }))
          .filter(({ seq, refs: [ref] }) => ref! < seq)
          .sort((a, b) => b.seq - a.seq);
        const sorted = [...snapshots].sort((a, b) => a - b);
        const found = plan(entities, retention, { snapshots: sorted, now: now * DAY, edges: refs });
        for (const { seq, refs: targets } of refs)
          if (!found.drops.has(seq)) for (const ref of targets) expect(found.drops.has(ref)).toBe(false);
        const horizon = found.horizons.get('c')?.seq ?? 0;
        for (const { versions: history } of entities) {
          const kept = history.filter(({ seq }) => !found.drops.has(seq));
          const at = (list: typeof history, point: number) => list.find(({ seq }) => seq <= point);
          for (const point of sorted) expect(at(kept, point)).toEqual(at(history, point));
          for (let point = horizon; point < 80; point++) {
            const before = at(history, point);
            // A dropped tombstone and none at all say the same: not alive.
            expect(at(kept, point)).toEqual(before?.kind === KIND_TOMBSTONE && found.drops.has(before.seq) ? undefined : before);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});
