/** What a server reads of its own files, through node:fs: tokens and certificates. */
import { readFileSync, statSync } from 'node:fs';
import type { Disk } from '../server/index.js';

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

export const nodeDisk: Disk = {
  stamp(path) {
    try {
      const { mtimeMs, ctimeMs, size, ino, mode } = statSync(path);
      return `${ino} ${size} ${mode} ${mtimeMs} ${ctimeMs}`;
    } catch (error) {
      return isMissing(error) ? undefined : String((error as NodeJS.ErrnoException).code);
    }
  },
  read(path) {
    try {
      const { mode } = statSync(path);
      return { bytes: readFileSync(path), mode: mode & 0o7777 };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  },
};
