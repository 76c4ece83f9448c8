/** Proofs: made by a server, checked by a client that trusts nothing but the root, and believed for nothing else. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson as engineCanonical } from '../../engine/index.js';
import { blake3 } from '../../server/client/blake3.js';
import { canonicalJson } from '../../server/client/canonical.js';
import { type Proof, proofProblem, verifyProof } from '../../server/client/index.js';
import type { JsonValue } from '../../server/client/types.js';
import { proofAnswer } from '../../server/schemas.js';
import { TestServer } from '../server/support.js';

const path = (id: string) => `/v1/records/${id}/proof`;

describe('canonical JSON of the client', () => {
  it("is the engine's for every value that a server can send", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const stored = engineCanonical(value).toString();
        expect(canonicalJson(JSON.parse(stored) as JsonValue)).toBe(stored);
      }),
      { numRuns: 500 },
    );
    const odd = '{"":1,"__proto__":{"b":1,"a":[]},"constructor":null,"é":1e300,"\u{1f600}":"\\u0000\u2028","~":0.1}';
    expect(canonicalJson(JSON.parse(engineCanonical(JSON.parse(odd)).toString()) as JsonValue)).toBe(
      engineCanonical(JSON.parse(odd)).toString(),
    );
  });
});

describe('a proof', () => {
  let s: TestServer;
  const ids: string[] = [];
  beforeAll(async () => {
    s = await TestServer.start();
    for (let n = 0; n < 400; n++) {
      const { id } = (
        await s.put(
          n % 3 === 0 ? 'hot' : `k${n} é`,
          { n, deep: { z: [n / 7], a: 'ü' } },
          n > 0 && n % 50 === 0 ? { 'Varve-Refs': `${ids[0]}, ${ids[n - 1]}` } : {},
        )
      ).json;
      ids.push(id);
    }
    ids.push((await s.ask('DELETE', '/v1/collections/c/entities/hot')).json.id);
  });
  afterAll(() => s.stop());

  it('holds for every record under the root that the shard tells, tombstones and refs too', async () => {
    const { root, seq } = (await s.get('/v1/shards/1/root')).json;
    for (const [n, id] of ids.entries()) {
      if (n % 9 > 0 && n % 50 > 0 && n < 399) continue;
      const { json } = await s.get(path(id));
      proofAnswer.parse(json);
      expect(json.record).toEqual((await s.get(`/v1/records/${id}`)).json);
      expect(json).toMatchObject({ root, seq });
      expect(proofProblem(json, root)).toBeUndefined();
    }
    expect((await s.get(path(ids[5]!))).json.path.length).toBeGreaterThan(1);
  });

  it('of a record that is only in memory folds, and logs nothing', async () => {
    const before = s.db.shards()[0]!;
    const { id, seq } = (await s.put('fresh', { fresh: true })).json;
    const { json } = await s.get(path(id));
    expect(json.seq).toBeGreaterThanOrEqual(seq);
    expect(verifyProof(json, json.root)).toBe(true);
    expect(verifyProof(json, (await s.get('/v1/shards/1/root')).json.root)).toBe(true);
    expect(s.db.shards()[0]!.durableSeq).toBe(before.durableSeq + 1);
  });

  it('of a root that has been passed holds under that root still', async () => {
    const { json } = await s.get(path(ids[9]!));
    for (let n = 0; n < 50; n++) await s.put(`later${n}`, n);
    await s.get('/v1/shards/1/root');
    const now = (await s.get(path(ids[9]!))).json;
    expect(now.root).not.toBe(json.root);
    expect(verifyProof(json, json.root)).toBe(true);
    expect(verifyProof(json, now.root)).toBe(false);
  });

  it('convinces nobody of a record in which anything was changed', async () => {
    const proof: Proof = (await s.get(path(ids[50]!))).json;
    const { root } = proof;
    expect(verifyProof(proof, root)).toBe(true);
    const { record } = proof;
    const another = (await s.get(`/v1/records/${ids[51]!}`)).json;
    const changes: Partial<typeof record>[] = [
      { id: another.id },
      { seq: another.seq },
      { shard: 2 },
      { time: another.time },
      { time: record.time.replace(/\dZ$/, (end) => `${(Number(end[0]) + 1) % 10}Z`) },
      { collection: 'd' },
      { key: 'another' },
      { supersedes: ids[0]! },
      { refs: [] },
      { refs: [...record.refs].reverse() },
      { deleted: true },
      { hash: another.hash },
      { body: { n: 50, deep: { z: [50 / 7], a: 'u' } } },
      { body: null },
    ];
    for (const change of changes)
      expect(verifyProof({ ...proof, record: { ...record, ...change } }, root), JSON.stringify(change)).toBe(false);
    const { body: _, ...bodiless } = record;
    const { salt, ...unsalted } = proof;
    const trueBodyHash = blake3(Buffer.from('vrv:body'), Buffer.from(salt!, 'hex'), Buffer.from(canonicalJson(record.body!)));
    const bodyHash = Buffer.from(trueBodyHash).toString('hex');
    // As for an erased record: it holds without a body, and ties none.
    expect(verifyProof({ ...unsalted, record: bodiless, bodyHash }, root)).toBe(true);
    const spoiled: Proof[] = [
      { ...unsalted, bodyHash },
      { ...proof, record: bodiless },
      unsalted,
      { ...unsalted, bodyHash: 'ab'.repeat(32) },
      { ...unsalted, record: bodiless, bodyHash: 'ab'.repeat(32) },
      { ...proof, salt: `00${salt!.slice(2)}` },
      { ...proof, salt: '00' },
      { ...proof, path: [] },
      { ...proof, path: proof.path.slice(1) },
      { ...proof, path: proof.path.slice(0, -1) },
      { ...proof, path: [...proof.path, proof.path[0]!] },
      { ...proof, path: ['!', ...proof.path.slice(1)] },
      { ...proof, seq: record.seq - 1 },
      { ...proof, root: another.hash },
    ];
    for (const each of spoiled) expect(proofProblem(each, root), JSON.stringify({ ...each, path: each.path.length })).toBeDefined();
    expect(verifyProof(proof, another.hash)).toBe(false);
    expect(verifyProof(proof, root.toUpperCase())).toBe(false);
  });

  it('holds no longer once any byte of its path is another', async () => {
    const proof: Proof = (await s.get(path(ids[7]!))).json;
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, at, by) => {
        const nodes = proof.path.map((text) => Buffer.from(text, 'base64'));
        const node = nodes[which % nodes.length]!;
        node[at % node.length]! ^= by;
        expect(verifyProof({ ...proof, path: nodes.map((bytes) => bytes.toString('base64')) }, proof.root)).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it('holds only under the key of the record, even of a root that was made for it', async () => {
    const own = await TestServer.start();
    const proof: Proof = (await own.get(path((await own.put('solo', 1)).json.id))).json;
    const node = Buffer.from(proof.path[0]!, 'base64');
    const rootOf = (leaf: Uint8Array) => Buffer.from(blake3(Buffer.from('varve tree leaf 1\0'), leaf)).toString('hex');
    expect([proof.path.length, rootOf(node)]).toEqual([1, proof.root]);
    node.write('solp', node.indexOf('solo'));
    const root = rootOf(node);
    expect(verifyProof({ ...proof, path: [node.toString('base64')], root }, root)).toBe(false);
    await own.stop();
  });

  it('may be anything at all', () => {
    fc.assert(
      fc.property(fc.anything(), fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 3 }), (any, nodes) => {
        const proof = { ...(any as object), path: nodes.map((bytes) => Buffer.from(bytes).toString('base64')) } as unknown as Proof;
        expect(verifyProof(proof, 'ab'.repeat(32))).toBe(false);
        expect(verifyProof({ ...proof, record: any } as Proof, 'ab'.repeat(32))).toBe(false);
      }),
    );
    expect(verifyProof(undefined as unknown as Proof, 'ab'.repeat(32))).toBe(false);
  });

  it('is not to be had for what is no record', async () => {
    expect((await s.get(path('00010000000fffff'))).json).toMatchObject({ status: 404, type: 'urn:varve:not-found' });
    expect((await s.get(path('00090000000fffff'))).status).toBe(404);
    expect((await s.get(path('x'))).json).toMatchObject({ status: 400, type: 'urn:varve:invalid' });
    await s.db.checkpoint();
    // The event's own seq.
    const { durableSeq } = s.db.shards()[0]!;
    expect((await s.get(path(`0001${durableSeq.toString(16).padStart(12, '0')}`))).status).toBe(404);
  });
});
