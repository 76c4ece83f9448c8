/**
 * `node.json`: who this node and its database are. Written once at creation, last of all, so that its
 * presence means the directory is whole; it carries its own checksum, so that a changed digit is noticed.
 */

import { writeAside } from './checked-file.js';
import { VarveError } from './errors.js';
import { crc32 } from './format/checksum.js';
import { blake3, hex } from './format/hash.js';
import type { Platform } from './platform/platform.js';

export const NODE_FILE = 'node.json';
const FORMAT_VERSION = 1;
const MOST_BYTES = 1024;
/** Once the check was a hash, whose first call takes as long as a tenth of an opening. */
const HASH_DIGITS = 64;

export interface Identity {
  readonly format: typeof FORMAT_VERSION;
  /** 32 hex digits: names the database, the same on every replica, and keys the tree's boundaries. */
  readonly database: string;
  /** 32 hex digits: names this copy. */
  readonly node: string;
  readonly shards: number;
  /** Made from another node's: it does not own what nobody is named the owner of. */
  readonly copy?: true;
}

export function readIdentity(platform: Platform): Identity | undefined {
  if (!platform.files.exists(NODE_FILE)) return undefined;
  const text = asciiOf(platform.files.readFile(NODE_FILE));
  let value: (Identity & { check: string }) | undefined;
  try {
    value = JSON.parse(text);
  } catch {
    // told below, like every other damage
  }
  if (typeof value !== 'object' || value === null) throw damaged('it is not a JSON object');
  const { check, ...identity } = value;
  if (check !== (check?.length === HASH_DIGITS ? hashOf(identity) : checkOf(identity)))
    throw damaged('its check does not match its content');
  if (identity.format !== FORMAT_VERSION) {
    throw new VarveError('INCOMPATIBLE', `${NODE_FILE} has format ${identity.format}; this version reads ${FORMAT_VERSION}`, {
      expected: `format ${FORMAT_VERSION}`,
      found: `format ${identity.format}`,
    });
  }
  return identity;
}

export function newIdentity(platform: Platform, shards: number): Identity {
  return {
    format: FORMAT_VERSION,
    database: Buffer.from(platform.randomBytes(16)).toString('hex'),
    node: Buffer.from(platform.randomBytes(16)).toString('hex'),
    shards,
  };
}

/** Whole or not at all. */
export function writeIdentity(platform: Platform, identity: Identity): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify({ ...identity, check: checkOf(identity) }, null, 2)}\n`);
  return writeAside(platform, '', NODE_FILE, bytes);
}

function checkOf(identity: object): string {
  return crc32(checkedBytes(identity)).toString(16).padStart(8, '0');
}

function hashOf(identity: object): string {
  return hex(blake3(checkedBytes(identity)));
}

function checkedBytes(identity: object): Uint8Array {
  return Buffer.from(JSON.stringify(identity, Object.keys(identity).sort()));
}

/** What is no ASCII fails its check as what it reads as. Node compiles its own decoders when they are first called, which takes longer. */
function asciiOf(bytes: Buffer): string {
  return bytes.length > MOST_BYTES ? bytes.toString('latin1') : String.fromCharCode(...bytes);
}

/** 16 bytes. */
export function databaseIdOf({ database }: Identity): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(database.slice(2 * i, 2 * i + 2), 16));
}

function damaged(why: string): VarveError {
  return new VarveError('CORRUPT', `${NODE_FILE} is damaged: ${why}`, { file: NODE_FILE, offset: 0, what: why });
}
