/** What the tests of the simulated disk share: machines, every crash of one, and a short way to write down a file's content. */
import { everyChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { CrashOptions } from '../../engine/platform/memory-content.js';
import type { File } from '../../engine/platform/platform.js';

export const SECTOR = 512;

export const fill = (text: string, length: number): Buffer => Buffer.alloc(length, text);
export const put = (file: File, bytes: Buffer, position: number): Promise<number> => file.write(bytes, 0, bytes.length, position);

/** A machine with one synced file in a synced directory. */
export async function machineWith(path: string, bytes: Buffer): Promise<{ machine: MemoryPlatform; file: File }> {
  const machine = new MemoryPlatform({ seed: 1 });
  const file = machine.files.open(path, 'create');
  if (bytes.length > 0) await put(file, bytes, 0);
  await file.sync();
  await machine.files.syncDirectory('');
  return { machine, file };
}

/** Every machine that a power cut now may leave. */
export function everyCrash(machine: MemoryPlatform, options: CrashOptions = {}): MemoryPlatform[] {
  const left: MemoryPlatform[] = [];
  for (const chooser of everyChooser()) left.push(machine.crash(chooser, options));
  return left;
}

/** A file's content with every sector shown by its first character and whether it is all of it: `A`, `·` for zeros. */
export function shape(machine: MemoryPlatform, path: string): string {
  if (!machine.files.exists(path)) return 'gone';
  const bytes = machine.contents(path);
  let text = '';
  for (let at = 0; at < bytes.length; at += SECTOR) {
    const first = bytes[at] ?? 0;
    const whole = bytes.subarray(at, at + SECTOR).every((byte) => byte === first);
    text += whole ? (first === 0 ? '·' : String.fromCharCode(first)) : '?';
  }
  return text;
}

export const shapes = (machines: MemoryPlatform[], path: string): string[] => machines.map((machine) => shape(machine, path)).sort();
