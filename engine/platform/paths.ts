/**
 * What a path is to a platform: relative to its root, `/` between names, `''` for the root itself.
 *
 * Both platforms check every path here, so that no name which came from a user or a peer can ever reach a
 * file outside the data directory, and so that the simulator refuses what the real disk refuses.
 */
import { VarveError } from '../errors.js';
import type { FileSystem } from './platform.js';

/** The names along a path; none for the root. Throws INVALID for anything that could mean another place. */
export function pathNames(path: string): string[] {
  if (path === '' || path === '.') return [];
  const names = path.split('/');
  for (const name of names) {
    if (name === '' || name === '.' || name === '..' || name.includes('\\') || name.includes('\0')) {
      const expected = 'names joined by single slashes, relative to the data directory';
      throw new VarveError('INVALID', 'a path leaves the data directory', { path, expected });
    }
  }
  return names;
}

/** What a directory holds, sorted; undefined where it is missing. */
export function namesIn(files: Pick<FileSystem, 'list'>, path: string): string[] | undefined {
  try {
    return files.list(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** An error as Node's file functions throw it. */
export function ioError(code: string, syscall: string, path: string): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Error(`${code}: ${syscall} '${path}'`);
  error.code = code;
  error.syscall = syscall;
  error.path = path;
  return error;
}
