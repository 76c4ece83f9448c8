/** Who leads, who follows, who waits: every way that a log, a configuration and peers can put it. */
import { describe, expect, it } from 'vitest';
import { decide, type HeardState, type OwnState, type RoleConfig } from '../../replication/roles.js';

const [A, B, C] = ['http://a:1', 'http://b:1', 'http://c:1'] as const;
const NODE = { a: 'a'.repeat(32), b: 'b'.repeat(32), c: 'c'.repeat(32) };
const own = (change: Partial<OwnState> = {}): OwnState => ({
  durableSeq: 0,
  caughtUp: true,
  node: NODE.a,
  epoch: 1,
  promised: 0,
  promisedTo: '',
  owner: undefined,
  isCopy: false,
  ...change,
});
const heard = (url: string, change: Partial<HeardState> = {}): HeardState => ({
  url,
  node: NODE.b,
  role: 'follower',
  epoch: 1,
  promised: 0,
  durableSeq: 0,
  owner: undefined,
  ...change,
});
const ALONE: RoleConfig = { follow: undefined, replicas: [], self: undefined };
const SET: RoleConfig = { follow: undefined, replicas: [A, B, C], self: A };

describe('a shard', () => {
  it('leads where its node is alone, unless it is a copy', () => {
    expect(decide(own(), ALONE, [])).toEqual({ kind: 'lead' });
    expect(decide(own({ isCopy: true }), ALONE, [])).toMatchObject({ kind: 'wait', reason: expect.stringContaining('copy') });
    expect(decide(own({ isCopy: true, epoch: 2, owner: { node: NODE.a, url: A } }), ALONE, [])).toEqual({ kind: 'lead' });
  });

  it('follows whom it is told to, unless its log names itself the owner', () => {
    const follow = { ...ALONE, follow: B };
    expect(decide(own(), follow, [])).toEqual({ kind: 'follow', url: B, owner: undefined });
    expect(decide(own({ epoch: 2, owner: { node: NODE.a, url: A } }), follow, [])).toEqual({ kind: 'lead' });
    const owner = { node: NODE.c, url: C };
    expect(decide(own({ epoch: 2, owner }), follow, [])).toEqual({ kind: 'follow', url: B, owner });
  });

  it('follows nobody that only a log names', () => {
    const owner = { node: NODE.c, url: 'http://stranger:1' };
    expect(decide(own({ epoch: 2, owner }), ALONE, [])).toMatchObject({ kind: 'wait' });
    expect(decide(own({ epoch: 2, owner }), SET, [heard(B), heard(C)])).toMatchObject({ kind: 'wait' });
  });

  it('leads in a replica set only once a majority said that it knows no newer epoch', () => {
    expect(decide(own(), SET, [])).toMatchObject({ kind: 'wait', reason: expect.stringContaining('1 of 3') });
    expect(decide(own(), SET, [heard(B)])).toEqual({ kind: 'lead' });
    const owner = { node: NODE.b, url: B };
    expect(decide(own(), SET, [heard(B, { epoch: 2, role: 'owner', owner })])).toEqual({ kind: 'follow', url: B, owner });
    expect(decide(own(), SET, [heard(C, { epoch: 2, owner })])).toEqual({ kind: 'follow', url: B, owner });
    expect(decide(own(), SET, [heard(B), heard(C, { promised: 2 })])).toMatchObject({ kind: 'wait' });
  });

  it('takes back from its followers what it lost before it leads again', () => {
    expect(decide(own({ durableSeq: 7 }), SET, [heard(B, { durableSeq: 9 })])).toEqual({ kind: 'follow', url: B, owner: undefined });
    expect(decide(own({ durableSeq: 9 }), SET, [heard(B, { durableSeq: 9 }), heard(C, { durableSeq: 3 })])).toEqual({ kind: 'lead' });
  });

  it('of two answers from one node makes no majority', () => {
    const five = { ...SET, replicas: [A, B, C, 'http://d:1', 'http://e:1'] };
    expect(decide(own(), five, [heard(B), heard(B)])).toMatchObject({ kind: 'wait' });
    expect(decide(own(), five, [heard(B), heard(C)])).toEqual({ kind: 'lead' });
  });

  it('does not lead after it has promised a newer epoch, and follows that once it has begun', () => {
    const promised = own({ promised: 2, promisedTo: NODE.c });
    expect(decide(promised, SET, [heard(B), heard(C)])).toMatchObject({ kind: 'wait' });
    const owner = { node: NODE.c, url: C };
    expect(decide(promised, SET, [heard(C, { epoch: 2, role: 'owner', owner })])).toEqual({ kind: 'follow', url: C, owner });
  });

  it('follows who leads in the first epoch, which no event names', () => {
    expect(decide(own({ isCopy: true }), SET, [heard(B, { role: 'owner' })])).toEqual({ kind: 'follow', url: B, owner: undefined });
    expect(decide(own({ isCopy: true }), SET, [heard(B), heard(C)])).toMatchObject({ kind: 'wait' });
  });

  it('believes no URL of a peer that is not configured', () => {
    const owner = { node: NODE.c, url: 'http://stranger:1' };
    expect(decide(own(), SET, [heard(B, { epoch: 5, owner })])).toMatchObject({ kind: 'wait' });
  });
});
