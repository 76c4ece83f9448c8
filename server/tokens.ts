/**
 * Access tokens as they are shown, and as they are kept.
 *
 *   shown once   varve_<id>_<secret>     id: 8 hex digits, public; secret: 256 random bits in base64url
 *   kept         {"version":1,"tokens":[{"id","name","role","collections","sha256","created"}]}
 *
 * Invariants: the file holds no secret, only SHA-256 of 256 random bits, which no guess reaches; nobody but its owner may read or write
 * it all the same. A file with anything in it that is not understood is refused whole: half of a list of rights is the wrong list.
 * A crash while it is replaced leaves the old or the new one (tools/commands/token.ts renames).
 */
import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { checkCollection, isSystemCollection, isVarveError, parseStrict } from '../engine/index.js';
import type { Disk, StoredFile } from './disk.js';
import { ConfigError } from './guard.js';

export const TOKEN_ROLES = ['read', 'write', 'admin', 'replica'] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

export interface TokenRecord {
  readonly id: string;
  readonly name: string;
  readonly role: TokenRole;
  /** Null: all of them, and what is above collections. */
  readonly collections: readonly string[] | null;
  readonly sha256: string;
  readonly created: string;
}

export const TOKEN_FILE = 'tokens.json';
export const MAX_TOKENS = 10_000;
const SECRET_BYTES = 32;
const MAX_NAME = 200;
/** Nobody but the owner. */
const FORBIDDEN_MODE = 0o077;

const TOKEN = /^varve_([0-9a-f]{8})_([A-Za-z0-9_-]{43})$/;

const fileSchema = z.strictObject({
  version: z.literal(1, 'version 1'),
  tokens: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[0-9a-f]{8}$/, '8 hex digits'),
        name: z.string().max(MAX_NAME),
        role: z.enum(TOKEN_ROLES),
        collections: z.array(z.string()).min(1, 'at least one collection, or null').nullable(),
        sha256: z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits'),
        created: z.string().max(64),
      }),
    )
    .max(MAX_TOKENS),
});

/** The public and the secret part of what a client shows; undefined for what is no token at all. */
export function splitToken(text: string): { id: string; digest: Buffer } | undefined {
  const match = TOKEN.exec(text);
  return match === null ? undefined : { id: match[1]!, digest: digestOf(match[2]!) };
}

function digestOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

export interface NewToken {
  readonly role: TokenRole;
  readonly collections?: readonly string[];
  readonly name?: string;
}

/** A token for `text` to be shown once, and `record` to be kept. Throws ConfigError for rights that make no sense. */
export function createToken(wanted: NewToken, now: Date): { text: string; record: TokenRecord } {
  const { role, name = '' } = wanted;
  const collections = wanted.collections === undefined || wanted.collections.length === 0 ? null : [...new Set(wanted.collections)].sort();
  if (name.length > MAX_NAME) throw new ConfigError(`the name of a token has at most ${MAX_NAME} characters`);
  checkCollections(collections, role, '--collection');
  const id = randomBytes(4).toString('hex');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  const record = { id, name, role, collections, sha256: digestOf(secret).toString('hex'), created: now.toISOString() };
  return { text: `varve_${id}_${secret}`, record };
}

function checkCollections(collections: readonly string[] | null, role: TokenRole, where: string): void {
  if (collections === null) return;
  if (role === 'replica') throw new ConfigError(`${where}: a replica copies everything; its token cannot be limited to collections`);
  for (const collection of collections) {
    try {
      checkCollection(collection);
    } catch (error) {
      throw isVarveError(error, 'INVALID') ? new ConfigError(`${where}: '${collection}' is no name of a collection`) : error;
    }
    if (isSystemCollection(collection)) throw new ConfigError(`${where}: system collections are for tokens without a limit`);
  }
}

export function formatTokens(tokens: readonly TokenRecord[]): string {
  return `${JSON.stringify({ version: 1, tokens }, undefined, 2)}\n`;
}

/** The tokens in a file. Throws ConfigError that names `path` and the place in it. */
export function parseTokens(file: StoredFile, path: string): readonly TokenRecord[] {
  if ((file.mode & FORBIDDEN_MODE) !== 0) {
    const mode = (file.mode & 0o777).toString(8).padStart(4, '0');
    throw new ConfigError(`the token file ${path} has mode ${mode}: others can read or change it. To mend: chmod 600 ${path}`);
  }
  let value: unknown;
  try {
    value = parseStrict(file.bytes);
  } catch (error) {
    throw new ConfigError(`the token file ${path} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new ConfigError(
      `the token file ${path} cannot be used: ${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'malformed'}`,
    );
  }
  const ids = new Set<string>();
  parsed.data.tokens.forEach((token, index) => {
    const where = `the token file ${path} cannot be used: tokens.${index}`;
    if (ids.has(token.id)) throw new ConfigError(`${where}.id: ${token.id} is there twice`);
    ids.add(token.id);
    checkCollections(token.collections, token.role, `${where}.collections`);
  });
  return parsed.data.tokens;
}

/** As `parseTokens`; undefined where there is no file. */
export function readTokens(disk: Disk, path: string): readonly TokenRecord[] | undefined {
  let file: StoredFile | undefined;
  try {
    file = disk.read(path);
  } catch (error) {
    throw new ConfigError(`cannot read the token file ${path}: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`);
  }
  return file === undefined ? undefined : parseTokens(file, path);
}
