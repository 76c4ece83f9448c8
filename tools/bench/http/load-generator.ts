/** The parent's side of a process that asks one server. One command is under way at a time. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Answer, Measured } from '../job.js';
import { processFile } from '../runner.js';
import type { Step } from './plan.js';
import type { HttpJob } from './result.js';
import { end } from './servers.js';

export type Command =
  | { readonly do: 'prepare' }
  | { readonly do: 'slice'; readonly step: Step; readonly timed: boolean }
  /** Answered with the figures of all timed slices. */
  | { readonly do: 'finish' };

/** A slice takes seconds, and of a slow server some ten: who takes this long is stuck. */
const LONGEST_MS = 120_000;

export class LoadGenerator {
  readonly #child: ChildProcess;

  constructor(job: HttpJob) {
    const { file, flags } = processFile('http/load-process');
    this.#child = fork(file, [JSON.stringify(job)], { execArgv: flags, stdio: ['ignore', 2, 2, 'ipc'] });
    // Told to whoever asks next: no channel is left then.
    this.#child.on('error', () => {});
  }

  ask(command: Command): Promise<Measured> {
    const child = this.#child;
    return new Promise<Measured>((resolve, reject) => {
      const answered = (message: unknown) => {
        const answer = message as Answer;
        settle(() => ('error' in answer ? reject(new Error(answer.error)) : resolve(answer.measured)));
      };
      const fail = (what: string) => settle(() => reject(new Error(`the load generator ${what}`)));
      const ended = (code: number | null, signal: string | null) => fail(`ended with ${code ?? signal} and no answer`);
      const timer = setTimeout(() => fail(`did not answer in ${LONGEST_MS / 1000} s`), LONGEST_MS);
      const settle = (how: () => void) => {
        clearTimeout(timer);
        child.off('message', answered).off('exit', ended);
        how();
      };
      child.on('message', answered).on('exit', ended);
      child.send(command, (error) => {
        if (error !== null) fail(`cannot be told: ${error.message}`);
      });
    });
  }

  stop(): Promise<void> {
    return end(this.#child, 'SIGKILL');
  }
}
