/**
 * The server's side of an import: what is there already, and commits sent part by part.
 *
 * A commit that fits one batch is that batch: its own record first, its files with a ref to `#0`. One that
 * does not fit is sent as several: the first begins with the commit's record marked `incomplete`, to which
 * all its files refer, and the last ends with the record again, without the mark. So as of the id of the
 * newest version of a commit's record, `files` is that commit's tree, and an import that died between two
 * parts is seen by the next one.
 *
 * Times: a batch has its committer's date, raised just past the newest record's where it is not later. A date
 * in the future is not taken either: it too becomes just past the newest.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { formatTime, parseTime } from '../../../engine/index.js';
import { ConnectionError, entityPath, type HttpClient, ProblemError } from '../../http-client.js';
import type { GitCommit } from './log.js';
import type { Part } from './parts.js';

export interface TargetNames {
  readonly commits: string;
  readonly files: string;
  /** Placement group of both. */
  readonly group: string;
}

interface Header {
  readonly id: string;
  readonly time: string;
  readonly key: string;
}

interface Listed extends Header {
  readonly body: Record<string, unknown>;
}

/** What an earlier import left. */
export interface Imported {
  /** Sha of each commit to the id of its record. */
  readonly ids: Map<string, string>;
  /** The commit imported last, whose tree `files` holds now. */
  readonly newest: { readonly sha: string; readonly id: string; readonly incomplete: boolean } | undefined;
}

const ATTEMPTS = 6;
/** Where a repository's very first commit is dated in the future. */
const EARLIEST_MICROS = 1_000_000;

export class ImportTarget {
  readonly #client: HttpClient;
  readonly #names: TargetNames;
  /** Tells this run's retries from another run's. */
  readonly #run = crypto.randomUUID();
  #sent = 0;
  #newestMicros: number | undefined;
  /** Record that the files of the commit under way refer to, and whether more of it is to come. */
  #open: { readonly sha: string; readonly id: string } | undefined;
  /** Batches whose time is not their committer's date. */
  shifted = 0;

  constructor(client: HttpClient, names: TargetNames) {
    this.#client = client;
    this.#names = names;
  }

  /** Puts both collections into one group. A group they already share is kept, whatever its name. */
  async prepare(): Promise<void> {
    const wanted = `group:${this.#names.group}`;
    const found: string[] = [];
    for (const name of [this.#names.commits, this.#names.files]) {
      try {
        const info = await this.#client.json<{ placement: string }>('PUT', `/v1/collections/${encodeURIComponent(name)}`, {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ placement: found[0] ?? wanted }),
        });
        found.push(info.placement);
      } catch (error) {
        if (!(error instanceof ProblemError) || error.status !== 409) throw error;
        const info = await this.#client.json<{ placement: string }>('GET', `/v1/collections/${encodeURIComponent(name)}`);
        found.push(info.placement);
      }
    }
    if (found[0] !== found[1] || !found[0]?.startsWith('group:')) {
      const said = `'${this.#names.commits}' is placed by ${found[0]}, '${this.#names.files}' by ${found[1]}`;
      throw new Error(`collections of an import must share a placement group, but ${said}: choose others with --commits and --files`);
    }
  }

  async imported(): Promise<Imported> {
    const ids = new Map<string, string>();
    let newest: Header | undefined;
    for await (const record of this.#client.lines<Header>(`/v1/collections/${this.#names.commits}/entities`, {
      query: { bodies: false },
    })) {
      ids.set(record.key, record.id);
      if (newest === undefined || record.id > newest.id) newest = record;
    }
    if (newest === undefined) return { ids, newest: undefined };
    const record = await this.#client.json<Listed>('GET', entityPath(this.#names.commits, newest.key));
    this.#newestMicros = parseTime(record.time);
    const incomplete = record.body['incomplete'] === true;
    return { ids, newest: { sha: newest.key, id: record.id, incomplete } };
  }

  /** Every path `files` holds now, with mode and blob. */
  async files(): Promise<Map<string, { mode: string; blob: string }>> {
    const files = new Map<string, { mode: string; blob: string }>();
    for await (const record of this.#client.lines<Listed>(`/v1/collections/${this.#names.files}/entities`)) {
      files.set(record.key, { mode: String(record.body['mode']), blob: String(record.body['blob']) });
    }
    return files;
  }

  /** Goes on with a commit that an earlier run left incomplete. */
  resume(sha: string, id: string): void {
    this.#open = { sha, id };
  }

  /** `body` makes the commit's record, with or without the mark. Resolves once durable. */
  async send(part: Part, body: (incomplete: boolean) => string): Promise<void> {
    const { commit } = part;
    const open = this.#open?.sha === commit.sha ? this.#open : undefined;
    const records: string[] = [];
    if (open === undefined) records.push(this.#commitRecord(commit, body(!part.last), null));
    const ref = open?.id ?? '#0';
    for (const { key, body: file } of part.items) {
      const content = file === undefined ? '"deleted":true' : `"body":${file}`;
      records.push(`{"collection":"${this.#names.files}","key":${JSON.stringify(key)},${content},"refs":["${ref}"]}`);
    }
    if (open !== undefined && part.last) records.push(this.#commitRecord(commit, body(false), open.id));
    const headers = await this.#post(commit, records);
    if (part.last) this.#open = undefined;
    else if (open === undefined) this.#open = { sha: commit.sha, id: headers[0]?.id ?? '' };
  }

  #commitRecord(commit: GitCommit, body: string, expect: string | null): string {
    return `{"collection":"${this.#names.commits}","key":"${commit.sha}","body":${body},"expect":${JSON.stringify(expect)}}`;
  }

  async #post(commit: GitCommit, records: readonly string[]): Promise<readonly Header[]> {
    this.#sent += 1;
    const joined = records.join(',');
    let micros = this.#timeFor(commit, Date.now() * 1000);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await this.#client.json<{ records: Header[] }>('POST', '/v1/records', {
          headers: { 'content-type': 'application/json', 'idempotency-key': `import-git-${this.#run}-${this.#sent}` },
          body: `{"time":"${formatTime(micros)}","records":[${joined}]}`,
        });
        if (micros !== commit.committed.micros) this.shifted += 1;
        this.#newestMicros = micros;
        return answer.records;
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
        if (error instanceof ProblemError && error.slug === 'time-behind') {
          this.#newestMicros = parseTime(String(error.problem['newest']));
          micros = this.#newestMicros + 1;
        } else if (error instanceof ProblemError && error.slug === 'time-ahead') {
          micros = (this.#newestMicros ?? EARLIEST_MICROS) + 1;
        } else if (error instanceof ProblemError && error.slug === 'precondition-failed' && attempt > 1) {
          // Keys are remembered by the time of their batch, and history is old: an earlier attempt got through after all.
          this.#newestMicros = micros;
          return [await this.#client.json<Header>('GET', entityPath(this.#names.commits, commit.sha))];
        } else if (error instanceof ConnectionError || (error instanceof ProblemError && error.status === 503)) {
          // The idempotency key makes sending again safe, whatever became of the first attempt.
          await pause(2 ** attempt * 50);
        } else {
          throw error;
        }
      }
    }
  }

  #timeFor(commit: GitCommit, nowMicros: number): number {
    const past = (this.#newestMicros ?? EARLIEST_MICROS) + 1;
    const { micros } = commit.committed;
    if (this.#newestMicros === undefined) return micros <= nowMicros ? micros : Math.min(commit.authored.micros, past);
    return micros < past || micros > nowMicros ? past : micros;
  }
}
