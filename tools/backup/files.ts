/** Files that must be there after a power cut. */
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the directory and syncs each parent that gained a name. */
export async function makeDurableDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (first === undefined) return;
  for (let path = directory; path.length >= first.length; path = dirname(path)) await syncDirectory(dirname(path));
}

/** Writes `chunks` from `offset` on, nothing behind them, and syncs. Returns the file's length. */
export async function writeDurable(path: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const file = await open(path, offset === 0 ? 'w' : 'r+');
  try {
    let at = offset;
    for await (const chunk of chunks) {
      for (let done = 0; done < chunk.length; ) {
        const { bytesWritten } = await file.write(chunk, done, chunk.length - done, at + done);
        // A full disk writes less and says nothing; writing again then says it.
        done += bytesWritten;
      }
      at += chunk.length;
    }
    await file.truncate(at);
    await file.sync();
    return at;
  } finally {
    await file.close();
  }
}
