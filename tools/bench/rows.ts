/** The rows of the table: which figure of which workload, which way is better, and who may be called the best. */
import { RATES } from './http/result.js';
import type { Figures, Measured } from './job.js';

export interface Row {
  readonly title: string;
  readonly workload: string;
  readonly better: 'more' | 'less';
  value(figures: Figures, all: Measured): number | undefined;
  /** More about it, behind the value where there is room: p50 and p99. */
  detail?(figures: Figures): string;
  /** A peer that does not sync is not a rival here: it does less. */
  readonly durable?: true;
  /** Nor is one with fewer entities: it has less to carry. */
  readonly sameSize?: true;
}

export function numberOf(figures: Figures | undefined, name: string): number | undefined {
  const value = figures?.[name];
  return typeof value === 'number' ? value : undefined;
}

const figure =
  (name: string, scale = 1) =>
  (figures: Figures) => {
    const value = numberOf(figures, name);
    return value === undefined ? undefined : value * scale;
  };

const percentiles = (figures: Figures) => `${micros(numberOf(figures, 'p50Us'))} / ${micros(numberOf(figures, 'p99Us'))}`;

const rate = (title: string, workload: string, more: Partial<Row> = {}): Row => ({
  title: `${title}, /s`,
  workload,
  better: 'more',
  value: figure('perSecond'),
  detail: percentiles,
  ...more,
});

export const ROWS: readonly Row[] = [
  {
    title: 'bulk load, versions/s',
    workload: 'load',
    better: 'more',
    value: figure('perSecond'),
    detail: (figures) => `last tenth ${amount(numberOf(figures, 'lastTenthPerSecond'))}`,
    durable: true,
  },
  {
    title: 'bulk load: last tenth, versions/s',
    workload: 'load',
    better: 'more',
    value: figure('lastTenthPerSecond'),
    durable: true,
    sameSize: true,
  },
  { title: 'bulk load: p99 of a batch, ms', workload: 'load', better: 'less', value: figure('batchP99Ms'), durable: true },
  rate('insert, 1 client', 'insert', { durable: true }),
  rate('insert, 64 clients', 'insertMany', { durable: true }),
  {
    title: 'insert, 16 clients: p99, ms',
    workload: 'checkpoint',
    better: 'less',
    value: figure('aloneP99Us', 0.001),
    detail: (figures) => `most ${micros(numberOf(figures, 'aloneMaxUs'))}`,
    durable: true,
  },
  {
    title: 'the same beside a checkpoint: p99, ms',
    workload: 'checkpoint',
    better: 'less',
    value: figure('besideP99Us', 0.001),
    detail: (figures) => `most ${micros(numberOf(figures, 'besideMaxUs'))}, it took ${amount(numberOf(figures, 'checkpointMs'))} ms`,
    durable: true,
  },
  rate('newest', 'newest'),
  rate('newest, 32 in flight', 'newestInFlight'),
  rate('as of a point', 'asOf'),
  rate('as of a point, 32 in flight', 'asOfInFlight'),
  rate('history', 'history'),
  rate('history, bodies as bytes', 'historyBytes'),
  rate('scan of up to 1000, newest', 'scan'),
  rate('scan of up to 1000, as of', 'scanAsOf'),
  {
    title: 'mixed 90 reads : 10 inserts, /s',
    workload: 'mixed',
    better: 'more',
    value: figure('perSecond'),
    durable: true,
  },
  { title: 'mixed: p99 of reads, µs', workload: 'mixed', better: 'less', value: figure('readP99Us'), durable: true },
  { title: 'mixed: p99 of inserts, ms', workload: 'mixed', better: 'less', value: figure('writeP99Us', 0.001), durable: true },
  { title: 'open to first answer, ms', workload: 'open', better: 'less', value: figure('ms'), sameSize: true },
  { title: 'open to first answer, ms of processor', workload: 'open', better: 'less', value: figure('cpuMs'), sameSize: true },
  { title: 'open after a crash, ms', workload: 'openAfterCrash', better: 'less', value: figure('ms'), sameSize: true },
  { title: 'are two copies equal, ms', workload: 'equal', better: 'less', value: figure('ms') },
  {
    title: 'find 10 differences, ms',
    workload: 'diff',
    better: 'less',
    value: figure('ms'),
    detail: (figures) => `again ${amount(numberOf(figures, 'secondMs'))}`,
  },
  {
    title: 'compact, s',
    workload: 'compact',
    better: 'less',
    value: figure('seconds'),
    detail: (figures) => `${megabytes(numberOf(figures, 'bytesBefore'))} -> ${megabytes(numberOf(figures, 'bytesAfter'))} MB`,
    sameSize: true,
  },
  {
    title: 'bytes on disk a version',
    workload: 'disk',
    better: 'less',
    value: (figures) => ratio(numberOf(figures, 'bytes'), numberOf(figures, 'versions')),
    sameSize: true,
  },
  {
    title: 'bytes written a byte of user data',
    workload: 'written',
    better: 'less',
    value: (figures, all) => ratio(numberOf(figures, 'bytes'), numberOf(all['disk'], 'userBytes')),
    durable: true,
    sameSize: true,
  },
  {
    title: 'peak memory of the load, MB',
    workload: 'memory',
    better: 'less',
    value: withServer('loadPeakMB'),
    detail: (figures) => `before ${amount(numberOf(figures, 'loadBaseMB'))}`,
    sameSize: true,
  },
  {
    title: 'peak memory of reads, MB',
    workload: 'memory',
    better: 'less',
    value: withServer('readsPeakMB'),
    detail: (figures) => `before ${amount(numberOf(figures, 'readsBaseMB'))}`,
    sameSize: true,
  },
];

/** A server's memory is its client's too. */
function withServer(name: string): Row['value'] {
  return (figures) => {
    const own = numberOf(figures, name);
    return own === undefined ? undefined : own + (numberOf(figures, 'serverPeakMB') ?? 0);
  };
}

function ratio(part: number | undefined, whole: number | undefined): number | undefined {
  return part === undefined || whole === undefined || whole === 0 ? undefined : part / whole;
}

/** `47k`, `1.5k`, `126`, `5.6` */
export function amount(value: number | undefined): string {
  if (value === undefined) return '–';
  if (value >= 999_500) return `${(value / 1e6).toFixed(value < 9.95e6 ? 1 : 0)}M`;
  if (value >= 9950) return `${Math.round(value / 1000)}k`;
  if (value >= 999.5) return `${(value / 1000).toFixed(1)}k`;
  if (value >= 99.5) return String(Math.round(value));
  return String(Number(value.toPrecision(2)));
}

export function micros(value: number | undefined): string {
  if (value === undefined) return '–';
  return value >= 1000 ? `${amount(value / 1000)} ms` : `${amount(value)} µs`;
}

function megabytes(bytes: number | undefined): string {
  return amount(bytes === undefined ? undefined : bytes / 1e6);
}

const open = (title: string, workload: string): Row => ({
  title,
  workload,
  better: 'less',
  value: figure('p99Us', 0.001),
  detail: (figures) => {
    const lost = numberOf(figures, 'unanswered') ?? 0;
    return `p50 ${micros(numberOf(figures, 'p50Us'))}, most ${micros(numberOf(figures, 'maxUs'))}${lost > 0 ? `, ${lost} unanswered` : ''}`;
  },
});

export const HTTP_ROWS: readonly Row[] = [
  rate('GET newest, 1 connection', 'httpGet1'),
  rate('GET newest, 64 in flight (16 × 4)', 'httpGet64'),
  rate('GET newest, 64 clients', 'httpGet64Clients'),
  ...RATES.get.map((perSecond) => open(`GET at ${perSecond}/s: p99, ms`, `httpGetAt${perSecond}`)),
  rate('PUT, 1 connection', 'httpPut1'),
  rate('PUT, 64 in flight (16 × 4)', 'httpPut64'),
  rate('PUT, 64 clients', 'httpPut64Clients'),
  ...RATES.put.map((perSecond) => open(`PUT at ${perSecond}/s: p99, ms`, `httpPutAt${perSecond}`)),
  rate('bulk of 1000, 1 client, documents', 'httpBulk', { detail: () => '' }),
  rate('bulk of 1000, 64 clients, documents', 'httpBulk64Clients', { detail: () => '' }),
  rate('bulk as a stream of lines, documents', 'httpStream', { detail: () => '' }),
  { title: 'peak memory of the server, MB', workload: 'httpMemory', better: 'less', value: figure('peakMB') },
];
