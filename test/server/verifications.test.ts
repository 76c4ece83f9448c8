/** Verifications over HTTP: who may begin one, what may be asked, what the job tells, and where findings show. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestServer } from './support.js';

let s: TestServer;
beforeAll(async () => {
  s = await TestServer.start({ open: { segmentBytes: 4096, upkeep: { automatic: false } } });
  for (let i = 0; i < 60; i++) await s.put(`k${i}`, { i, pad: 'p'.repeat(100) });
});
afterAll(() => s.stop());

const post = (body: unknown) => s.ask('POST', '/v1/verifications', { body });

async function ended(id: string): Promise<Record<string, unknown>> {
  await s.db.jobEnded(id);
  return (await s.get(`/v1/jobs/${id}`)).json;
}

describe('a verification', () => {
  it('is a job with a result', async () => {
    const accepted = await post({ deep: true });
    expect(accepted.status).toBe(202);
    expect(accepted.headers.location).toBe(`/v1/jobs/${accepted.json.id}`);
    const job = await ended(accepted.json.id);
    expect(job).toMatchObject({ kind: 'verification', state: 'done', progress: 1, request: { deep: true, peers: [] } });
    expect(job['result']).toEqual({ replicas: [], damaged: 0, repaired: 0, unrepairable: 0, findings: [] });
  });

  it('refuses shards that are none, URLs that are none, and fields it does not know', async () => {
    expect((await post({ shard: 9 })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'shard' });
    for (const url of ['nonsense', 'ftp://a', 'http://a/path', 'http://u:p@a'])
      expect((await post({ peers: ['http://127.0.0.1:1', url] })).json).toMatchObject({ type: 'urn:varve:invalid', path: 'peers[1]' });
    expect((await post({ depe: true })).json).toMatchObject({ type: 'urn:varve:unknown-field' });
  });

  it('shows what it found in /readyz?verbose and in the metrics, until it is gone', async () => {
    const checks = async () => (await s.get('/readyz?verbose')).json.checks.map(({ name }: { name: string }) => name);
    const open = async () => /^varve_verification_findings (\d+)$/m.exec((await s.get('/metrics')).text)?.[1];
    expect(await checks()).not.toContain('verification');
    expect(await open()).toBe('0');
    const [segment] = s.platform.fileList().filter(({ path }) => path.endsWith('.seg'));
    s.platform.flipBit(segment!.path, 8000);
    const job = await ended((await post({ deep: true })).json.id);
    expect(job['result']).toMatchObject({ damaged: 1, repaired: 0 });
    expect(await checks()).toContain('verification');
    expect(Number(await open())).toBeGreaterThan(0);
    expect((await s.get('/metrics')).text).toMatch(/^varve_scrubs_total 2$/m);
  });
});
