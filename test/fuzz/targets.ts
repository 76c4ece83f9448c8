/** Every fuzzer there is. */
import { footer, frame, node, record } from './bytes.js';
import { files } from './files.js';
import { feed, http } from './http.js';
import { json, ndjson } from './json.js';
import { packed } from './packed.js';
import { message, peerAnswers } from './peers.js';
import type { Target } from './target.js';
import { cursor, headers, names, tokens } from './texts.js';

export { fuzz } from './target.js';
export const TARGETS: readonly Target[] = [
  json,
  ndjson,
  record,
  frame,
  packed,
  footer,
  node,
  cursor,
  headers,
  names,
  tokens,
  files,
  http,
  feed,
  message,
  peerAnswers,
];
