/** `git ls-tree -r`: every path of a commit's tree with its mode and object. */
import { splitNul, streamGit } from './git.js';

export interface TreeEntry {
  readonly mode: string;
  readonly type: string;
  readonly blob: string;
  readonly path: Buffer;
}

export async function* readTree(repo: string, sha: string): AsyncGenerator<TreeEntry> {
  for await (const piece of splitNul(streamGit(repo, ['ls-tree', '-r', '-z', '--full-tree', sha]))) {
    const tab = piece.indexOf(0x09);
    const [mode, type, blob] = piece.subarray(0, tab).toString('latin1').split(' ');
    if (tab === -1 || mode === undefined || type === undefined || blob === undefined)
      throw new Error(`git ls-tree said '${piece.toString('latin1')}'`);
    yield { mode, type, blob, path: piece.subarray(tab + 1) };
  }
}
