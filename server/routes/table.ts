/**
 * The one table of operations: each mounted endpoint with its description. The application mounts it, OpenAPI and /docs tell it, metrics
 * label requests by its templates, and the tests hold rights (test/server/matrix.test.ts) and answers (test/server/answers.ts) to it.
 *
 * Invariant: no endpoint without a description and no description without an endpoint (a test).
 */
import { type Scope, scopeOfPath } from '../auth.js';
import type { Endpoint, Method, Role, Route } from '../exchange.js';
import { DESCRIPTIONS } from '../operations/index.js';
import type { Description } from '../operations/operation.js';
import { changesRoutes } from './changes.js';
import { collectionRoutes } from './collections.js';
import { diffRoutes } from './diff.js';
import { documentRoutes } from './documents.js';
import { entityRoutes } from './entities.js';
import { healthRoutes } from './health.js';
import { keepRoutes } from './keep.js';
import { metricsRoutes } from './metrics.js';
import { proofRoutes } from './proofs.js';
import { recordRoutes } from './records.js';
import { replicationRoutes } from './replication.js';
import { shardRoutes } from './shards.js';
import { verificationRoutes } from './verifications.js';

export const ROUTES: readonly Route[] = [
  ...healthRoutes,
  ...metricsRoutes,
  ...documentRoutes(() => OPERATIONS),
  ...entityRoutes,
  ...recordRoutes,
  ...proofRoutes,
  ...changesRoutes,
  ...diffRoutes,
  ...collectionRoutes,
  ...keepRoutes,
  ...verificationRoutes,
  ...shardRoutes,
  ...replicationRoutes,
];

export interface Operation {
  readonly method: Method;
  /** `/v1/collections/:collection`, as Express and the metrics have it. */
  readonly path: string;
  /** `/v1/collections/{collection}`, as OpenAPI has it. */
  readonly template: string;
  readonly parameters: readonly string[];
  readonly role: Role;
  readonly scope: Scope;
  readonly description: Description;
}

export const OPERATIONS: readonly Operation[] = ROUTES.flatMap(operationsOf);

function operationsOf(route: Route): Operation[] {
  return Object.entries(route.endpoints).flatMap(([name, endpoint]) => {
    const method = name as Method;
    const description = DESCRIPTIONS[`${method} ${route.path}`];
    return description === undefined ? [] : [operation(method, route.path, endpoint, description)];
  });
}

function operation(method: Method, path: string, { role, scope }: Endpoint, description: Description): Operation {
  return {
    method,
    path,
    template: path.replaceAll(/\{?\/\*(\w+)\}?/g, '/{$1}').replaceAll(/:(\w+)/g, '{$1}'),
    parameters: [...path.matchAll(/[:*](\w+)/g)].map(([, name = '']) => name),
    role,
    scope: scope ?? scopeOfPath(path),
    description,
  };
}
