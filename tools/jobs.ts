/** Waits for a job of the server, with a bar, and tells what became of it. */
import type { HttpClient } from './http-client.js';
import { Difference, type Io } from './output.js';
import { progressBar } from './progress.js';

export interface JobJson {
  readonly id: string;
  readonly kind: string;
  readonly state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
  readonly paused: boolean;
  readonly progress: number;
  readonly created: string;
  readonly started: string | null;
  readonly ended: string | null;
  readonly result: Readonly<Record<string, unknown>> | null;
  readonly error: string | null;
}

const FIRST_PAUSE_MS = 20;
const LAST_PAUSE_MS = 500;

/** Throws Difference where the job failed or was cancelled. Interrupting the wait leaves the job alone. */
export async function finished(client: HttpClient, job: JobJson, io: Io, quiet: boolean): Promise<JobJson> {
  const bar = progressBar(io, '%', quiet);
  let now = job;
  try {
    for (let pause = FIRST_PAUSE_MS; now.ended === null; pause = Math.min(LAST_PAUSE_MS, pause * 1.5)) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      now = await client.json<JobJson>('GET', `/v1/jobs/${job.id}`);
      bar.update(Math.floor(100 * now.progress), 100);
    }
  } finally {
    bar.stop();
  }
  if (now.state !== 'done') throw new Difference(`the ${now.kind} ${now.state === 'failed' ? `failed: ${now.error}` : 'was cancelled'}`);
  return now;
}
