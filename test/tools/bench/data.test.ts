/** The data sets know the right answers: held against the plainest way to find them. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BASE, type DataSet, dataSet, extract } from '../../../tools/bench/data/index.js';
import { temporaryDirectory } from '../cli.js';

const root = temporaryDirectory();
afterAll(() => root.remove());

const synthetic = (seed: number) => dataSet({ data: 'synthetic', entities: 300, versionsPer: 4, seed });

function everything(set: DataSet) {
  return Array.from({ length: set.versions }, (_, version) => set.record(version));
}

function checkAnswers(set: DataSet): void {
  const records = everything(set);
  const points = [0, 1, set.versions >> 1, set.versions - 1].map((version) => BASE + 1 + version);
  for (let entity = 0; entity < set.entities; entity++) {
    const own = records.filter(({ key }) => key === set.keyOf(entity)).map(({ seq }) => seq);
    expect(set.seqsOf(entity)).toEqual(own);
    expect(set.newest(entity)).toBe(own.at(-1));
    for (const point of points) expect(set.asOf(entity, point)).toBe(own.filter((seq) => seq <= point).at(-1) ?? 0);
  }
  const keys = Array.from({ length: set.entities }, (_, entity) => set.keyOf(entity));
  expect([...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))).toEqual(keys);
}

describe('the synthetic data set', () => {
  it('gives every entity versions and knows which is visible when', () => checkAnswers(synthetic(1)));

  it('is the same for the same seed and another for another', () => {
    expect(everything(synthetic(7))).toEqual(everything(synthetic(7)));
    expect(everything(synthetic(7))).not.toEqual(everything(synthetic(8)));
  });

  it('changes a few entities often and many never', () => {
    const set = dataSet({ data: 'synthetic', entities: 2000, versionsPer: 5, seed: 1 });
    const counts = Array.from({ length: set.entities }, (_, entity) => set.seqsOf(entity).length);
    expect(Math.max(...counts)).toBeGreaterThan(100);
    expect(counts.filter((count) => count === 1).length).toBeGreaterThan(set.entities / 4);
    expect(counts.reduce((a, b) => a + b)).toBe(10_000);
  });

  it('numbers what is written later above all of it', () => {
    const set = synthetic(1);
    const extra = set.extra(5, 2);
    expect(extra).toMatchObject({ key: set.keyOf(5), seq: BASE + 1 + set.versions + 2, body: { id: 5 } });
  });
});

describe('a git history as data', () => {
  it('has every version of every file, deletions aside, in the order of the commits', async () => {
    const repo = path.join(root.path, 'repo');
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repo, '-c', 'user.name=T', '-c', 'user.email=t@example.com', '-c', 'commit.gpgsign=false', ...args]);
    execFileSync('git', ['init', '-q', '-b', 'main', repo]);
    for (const [round, names] of [['b', 'ä/x'], ['b'], ['a', 'ä/x', '💡']].entries()) {
      for (const name of names) {
        execFileSync('mkdir', ['-p', path.dirname(path.join(repo, name))]);
        writeFileSync(path.join(repo, name), `${name} in round ${round}\n`);
      }
      git('add', '-A');
      git('commit', '-q', '-m', `round ${round}`);
    }
    git('rm', '-q', 'b');
    git('commit', '-q', '-m', 'gone');
    const file = path.join(root.path, 'history.txt');
    expect(await extract(repo, file)).toBe(6);
    const set = dataSet({ data: 'git', entities: 100, versionsPer: 1, seed: 1, file });
    checkAnswers(set);
    expect(set.entities).toBe(4);
    const texts = everything(set).map(({ body }) => (body as { text: string }).text);
    expect(texts.sort()).toEqual(
      ['a in round 2\n', 'b in round 0\n', 'b in round 1\n', 'ä/x in round 0\n', 'ä/x in round 2\n', '💡 in round 2\n'].sort(),
    );
    const fewer = dataSet({ data: 'git', entities: 2, versionsPer: 1, seed: 1, file });
    expect([fewer.keyOf(0), fewer.keyOf(1)]).toEqual(['path/a', 'path/b']);
    checkAnswers(fewer);
  });
});
