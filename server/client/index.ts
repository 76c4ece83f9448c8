/**
 * `varve/client`: talks to a Varve server from Node or a browser. Loads as it is, unbundled; needs fetch and nothing of Node.
 */
export { Client } from './client.js';
export type { Keep } from './keep.js';
export {
  isProblem,
  type KnownSlug,
  PROBLEM_SLUGS,
  type ProblemSlug,
  VarveConnectionError,
  VarveProblem,
} from './problem.js';
export { proofProblem, verifyProof } from './proof.js';
export type { ClientOptions } from './transport.js';
export type * from './types.js';
export type { InsertOutcome } from './write-many.js';
