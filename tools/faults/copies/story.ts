/**
 * What happened, one line after the other, for a person: when, to whom, what was done, and what the nodes logged about it.
 *
 * Owns nothing but its clock. A line that a node repeats is told once, and counted.
 */
export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

const WARN = 40;
const ERROR = 50;
/** What a healthy node says in any round, and what its clients did wrong. */
const EVERYDAY = new Set(['listening', 'ready', 'request refused', 'request failed', 'closed', 'shutting down']);
const UNTOLD = new Set(['level', 'time', 'msg', 'pid', 'hostname', 'err', 'waitMs']);
const LONGEST = 300;

export class Story {
  readonly #write: (line: string) => void;
  readonly #began = performance.now();
  readonly #told = new Map<string, number>();

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  tell(who: string, what: string): void {
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(1);
    this.#write(`${seconds.padStart(7)} s  ${who.padEnd(2)} ${what}\n`);
  }

  /** A line of a node's log. */
  heard(who: string, line: LogLine): void {
    if (EVERYDAY.has(line.msg) && line.level < ERROR) return;
    const said = sentence(line);
    // Numbers change from one time to the next, what is said does not.
    const kind = `${who} ${said.replace(/\d+/g, '#')}`;
    const times = (this.#told.get(kind) ?? 0) + 1;
    this.#told.set(kind, times);
    if (times === 1 || times === 10 || times === 100) this.tell(who, `  | ${said}${times > 1 ? ` (${times} times by now)` : ''}`);
  }

  /** It begins anew: what it said before it may say again. */
  forget(who: string): void {
    for (const kind of this.#told.keys()) if (kind.startsWith(`${who} `)) this.#told.delete(kind);
  }

  /** From here on everything is news again. */
  chapter(title: string): void {
    this.#told.clear();
    this.#write(`\n${title}\n`);
  }
}

function sentence({ level, msg, fields }: LogLine): string {
  const level_ = level >= ERROR ? 'ERROR ' : level >= WARN ? 'warn ' : '';
  const details = Object.entries(fields)
    .filter(([name]) => !UNTOLD.has(name))
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const err = fields['err'];
  if (typeof err === 'object' && err !== null && 'message' in err) details.push(String(err.message));
  const whole = `${level_}${msg}${details.length > 0 ? ` (${details.join(', ')})` : ''}`;
  return whole.length > LONGEST ? `${whole.slice(0, LONGEST)}…` : whole;
}

export function parseLogLine(line: string): LogLine {
  try {
    const { level, msg, ...fields } = JSON.parse(line) as { level: number; msg: string };
    return { level, msg, fields };
  } catch {
    return { level: ERROR, msg: line, fields: {} };
  }
}
