/**
 * The HTTP side of Varve: a server over an open database (`startServer`), and all of `varve serve` (`loadConfig`, `serve`).
 */
export { Access, Caller, type NeededRole, type Scope } from './auth.js';
export {
  type ConfigSources,
  DEFAULT_DATA,
  DEFAULT_LISTEN,
  environmentName,
  type FlagValues,
  flagName,
  loadConfig,
  SETTINGS,
  type ServeConfig,
  type SettingName,
  tokenFileOf,
} from './config.js';
export type { Disk, StoredFile } from './disk.js';
export { ConfigError, isLoopback, parseListen } from './guard.js';
export { DEFAULT_LIMITS, type Limits } from './limits.js';
export { createLogger, type Logger, type LogLevel } from './logging.js';
export { KINDS, Problem, type ProblemBody, problemOf, type Slug } from './problem.js';
export { type ServeOptions, type Serving, type SignalSource, serve } from './serve.js';
export { type Figures, type RunningServer, type ServerOptions, startServer } from './start.js';
export { readTls, type TlsFiles, type TlsMaterial } from './tls.js';
export {
  createToken,
  formatTokens,
  type NewToken,
  readTokens,
  TOKEN_FILE,
  TOKEN_ROLES,
  type TokenRecord,
  type TokenRole,
} from './tokens.js';
