/** What every phase works with. */
import path from 'node:path';
import type { Adapter, Store } from '../adapter.js';
import { BASE, type DataSet } from '../data/index.js';
import type { Job, Measured } from '../job.js';
import type { Packages } from '../packages.js';

export interface Context {
  readonly job: Job;
  readonly adapter: Adapter;
  readonly packages: Packages;
  readonly set: DataSet;
  /** Where the store's files are. */
  readonly directory: string;
  open(directory?: string): Promise<Store>;
}

export type RunPhase = (context: Context) => Promise<Measured>;

/** Phases that write number their versions apart, later ones above earlier ones. */
export const EXTRA = { verify: 0, insert: 1_000_000, mixed: 2_000_000, checkpoint: 3_000_000, crash: 4_000_000 } as const;

export function copyDirectory(context: Context): string {
  return path.join(context.job.directory, 'copy');
}

/** A wrong answer ends the phase: no figure is taken of a store that errs. */
export function expect(right: boolean, question: string): void {
  if (!right) throw new Error(`wrong answer: ${question}`);
}

/** Any position among the data set's versions. */
export function anySeq(set: DataSet, pick: (below: number) => number): number {
  return BASE + 1 + pick(set.versions);
}
