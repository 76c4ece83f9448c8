/** What the runner tells a phase's process, and what that process answers. Both go over the channel between parent and child as JSON. */
import type { DataSettings } from './data/index.js';

/** Phases in the order they run: those that ask come before those that write, so that the answers are known. */
export const PHASES = ['load', 'open', 'reads', 'verify', 'insert', 'mixed', 'checkpoint', 'crash', 'open-after-crash', 'compact'] as const;
export type Phase = (typeof PHASES)[number];

export interface Job {
  readonly phase: Phase;
  readonly peer: string;
  /** The peer's own folder; the store is in `data` below it. */
  readonly directory: string;
  readonly peersDirectory: string | undefined;
  readonly data: DataSettings;
  /** The most a timed loop takes. */
  readonly capMs: number;
  /** When the process was asked for, ms since the epoch. */
  readonly spawnedAt: number;
}

/** One workload's figures; lists are a curve, a tenth of the work each. */
export type Figures = Record<string, number | string | readonly number[]>;
/** Workload -> figures. */
export type Measured = Record<string, Figures>;

export type Answer = { readonly measured: Measured } | { readonly error: string };
