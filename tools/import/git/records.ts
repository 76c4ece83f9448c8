/**
 * What a commit and its files become: bodies of the collections `commits` and `files`, and the rule for which
 * paths can be keys. Everything that is left out or altered on the way is named to `Notes`.
 */
import type { GitBlob } from './blobs.js';
import type { GitChange, GitCommit } from './log.js';
import { strictText } from './text.js';

export const NO_MODE = '000000';
export const SUBMODULE_MODE = '160000';
const MAX_KEY_BYTES = 512;
// Control characters: C0, DEL and C1.
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

export type Note =
  /** The path cannot be a key. Its file is left out, in every commit. */
  | { readonly kind: 'path'; readonly sha: string; readonly path: string; readonly reason: string }
  | { readonly kind: 'submodule'; readonly sha: string; readonly path: string }
  /** The content is over the body limit: the record says `omitted`. */
  | { readonly kind: 'omitted'; readonly sha: string; readonly path: string; readonly size: number }
  /** The repository has no such blob: the record says `omitted`, without a size. */
  | { readonly kind: 'missing'; readonly sha: string; readonly path: string; readonly blob: string }
  /** Names or message were not UTF-8 and hold U+FFFD now. */
  | { readonly kind: 'text'; readonly sha: string }
  /** The message was cut to fit the body limit. */
  | { readonly kind: 'message'; readonly sha: string; readonly size: number }
  /** More than one batch was needed. */
  | { readonly kind: 'split'; readonly sha: string; readonly parts: number };

export type Key = { readonly key: string } | { readonly shown: string; readonly reason: string };

/** The path as a key, or why it cannot be one. */
export function keyOf(path: Uint8Array): Key {
  const text = strictText(path);
  if (text === undefined) return { shown: escaped(path), reason: 'not UTF-8' };
  if (CONTROL.test(text)) return { shown: escaped(path), reason: 'holds control characters' };
  if (path.length > MAX_KEY_BYTES) return { shown: text, reason: `longer than ${MAX_KEY_BYTES} bytes` };
  return { key: text };
}

/** True where git's tree holds something at this path that `files` can hold too. */
export function isFile(mode: string): boolean {
  return mode !== NO_MODE && mode !== SUBMODULE_MODE;
}

/** Printable ASCII as it is, other bytes as `\x1b`: for telling people, never for keys. */
function escaped(path: Uint8Array): string {
  let text = '';
  for (const byte of path)
    text += byte >= 0x20 && byte < 0x7f && byte !== 0x5c ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  return text;
}

/** Body of a `commits` record as JSON. `incomplete` while more batches of the same commit are to come. */
export function commitBody(commit: GitCommit, maxBody: number, note: (note: Note) => void, incomplete = false): string {
  const body: Record<string, unknown> = {
    sha: commit.sha,
    parents: commit.parents,
    author: commit.author,
    authored: commit.authored.text,
    committer: commit.committer,
    committed: commit.committed.text,
    subject: commit.subject,
    message: commit.message,
  };
  if (incomplete) body['incomplete'] = true;
  const json = JSON.stringify(body);
  if (Buffer.byteLength(json) <= maxBody) return json;
  note({ kind: 'message', sha: commit.sha, size: Buffer.byteLength(commit.message) });
  // A character takes at most 6 bytes of JSON; the rest of the room is for names, parents and dates.
  const room = Math.floor(maxBody / 16);
  return JSON.stringify({
    ...body,
    subject: head(commit.subject, Math.min(room, 1000)),
    message: head(commit.message, room),
    truncated: true,
  });
}

/** Without cutting a character in two: half a surrogate pair is not JSON the server takes. */
function head(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? length - 1 : length);
}

/** Body of a `files` record as JSON; `omitted` where the content did not go in. */
export function fileBody(sha: string, change: GitChange, blob: GitBlob, maxBody: number): { json: string; omitted: boolean } {
  const base = { commit: sha, mode: change.newMode, blob: change.blob };
  const size = blob.kind === 'missing' ? null : blob.size;
  if (blob.kind === 'content') {
    const text = strictText(blob.bytes);
    const json = JSON.stringify(text === undefined ? { ...base, size, base64: blob.bytes.toString('base64') } : { ...base, size, text });
    if (Buffer.byteLength(json) <= maxBody) return { json, omitted: false };
  }
  return { json: JSON.stringify({ ...base, size, omitted: true }), omitted: true };
}
