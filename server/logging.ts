/**
 * The server's log: JSON lines on stderr through pino, silent unless someone asks. It says what was asked and how it ended, never
 * what was in a body, a token or an idempotency key; pino escapes what strangers wrote.
 */
import { type Logger, pino } from 'pino';

export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const STDERR = 2;

export function createLogger(level: LogLevel): Logger {
  if (level === 'silent') return pino({ level });
  return pino({ level, base: null }, pino.destination({ dest: STDERR, sync: true }));
}
