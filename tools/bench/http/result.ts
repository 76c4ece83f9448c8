/** What the HTTP part of a run leaves in the results. */
import type { Measured } from '../job.js';

export const HTTP_KINDS = ['varve', 'node', 'express', 'pouchdb'] as const;
export type HttpKind = (typeof HTTP_KINDS)[number];

export const HTTP_TITLES: Readonly<Record<HttpKind, string>> = {
  varve: 'varve serve',
  node: 'bare node:http',
  express: 'Express',
  pouchdb: 'PouchDB Server',
};

/** Requests a second that come whether or not the server keeps up. */
export const RATES = { get: [1000, 4000], put: [500, 2000] } as const;

export interface HttpResult {
  readonly entities: number;
  readonly capSeconds: number;
  readonly reps: number;
  readonly kinds: Partial<Record<HttpKind, HttpKindResult>>;
}

export interface HttpKindResult {
  readonly title: string;
  readonly design: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly errors: readonly string[];
  readonly workloads: Measured;
}

/** What the process that makes the load is started with; `port` is on loopback. */
export interface HttpJob {
  readonly kind: HttpKind;
  readonly port: number;
  readonly entities: number;
  readonly seed: number;
}
