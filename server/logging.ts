/**
 * The server's log: JSON lines on stderr through pino, silent unless someone asks. It says what was asked and how it ended, never
 * what was in a body, a token or an idempotency key; what strangers wrote is escaped, so that no line can pass for two, and none
 * can talk to the terminal that shows it.
 */
import { type Logger, pino } from 'pino';

export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const STDERR = 2;
/** What JSON leaves as it is and a terminal or a reader may act upon: DEL, C1 controls, line separators, and what turns text around. */
const TREACHEROUS = /[\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export interface LogSink {
  write(line: string): void;
}

/** `sink` takes whole lines; stderr by default. */
export function createLogger(level: LogLevel, sink: LogSink = pino.destination({ dest: STDERR, sync: true })): Logger {
  if (level === 'silent') return pino({ level });
  return pino({ level, base: null }, { write: (line: string) => sink.write(line.replace(TREACHEROUS, escaped)) });
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
