/**
 * Git's dates. Git keeps seconds and an offset as somebody's client wrote them, and takes nearly anything;
 * RFC 3339 does not: years of four digits, offsets of less than a day.
 */

export interface GitDate {
  /** Microseconds since 1970, as the server counts. */
  readonly micros: number;
  /** RFC 3339 in the offset it was written with; in UTC where that offset is nonsense. */
  readonly text: string;
}

const LAST_SECOND = 253_402_300_799; // 9999-12-31T23:59:59Z

/** Reads `--date=raw` (`1234567890 +0200`). What cannot be read is 1970. */
export function gitDate(raw: string): GitDate {
  const match = /^(-?\d+)(?: ([+-])(\d{2,4})(\d{2}))?$/.exec(raw.trim());
  const seconds = Math.min(Math.max(Number(match?.[1] ?? 0), 0), LAST_SECOND);
  const hours = Number(match?.[3] ?? 0);
  const minutes = Number(match?.[4] ?? 0);
  const offset = (hours * 60 + minutes) * (match?.[2] === '-' ? -1 : 1);
  const local = seconds + offset * 60;
  const sane = hours < 24 && minutes < 60 && local >= 0 && local <= LAST_SECOND;
  const shown = new Date((sane ? local : seconds) * 1000).toISOString().slice(0, 19);
  const zone = !sane || offset === 0 ? 'Z' : `${match?.[2]}${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`;
  return { micros: seconds * 1e6, text: shown + zone };
}
