/** A bar on stderr for people: only where stderr is a terminal, and never in the way of the output. */
import cliProgress from 'cli-progress';
import type { Io } from './output.js';

export interface Progress {
  /** `total` may grow, or be 0 while it is not known. */
  update(done: number, total: number): void;
  stop(): void;
}

const NONE: Progress = { update: () => {}, stop: () => {} };

export function progressBar(io: Io, noun: string, quiet = false): Progress {
  if (quiet || io.stderr.isTTY !== true) return NONE;
  const bar = new cliProgress.SingleBar({
    format: `{bar} {percentage}%  {value}/{total} ${noun}  {eta_formatted} left`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    stream: io.stderr,
    clearOnComplete: true,
    hideCursor: true,
    etaBuffer: 200,
  });
  let started = false;
  return {
    update(done, total) {
      if (!started) {
        bar.start(total, done);
        started = true;
      } else {
        bar.setTotal(total);
        bar.update(done);
      }
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
