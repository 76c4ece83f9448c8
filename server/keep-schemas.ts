/** The zod schemas of what keeps and gives back: retention, snapshots, compactions, erasures, jobs. See schemas.ts. */
import { z } from 'zod';
import { recordIdText, timeText } from './schemas.js';

/** Loose on purpose: the engine says what is wrong with a retention, field by field. */
export const retentionEnvelope = z.record(z.string(), z.json()).meta({
  id: 'RetentionRequest',
  description:
    '`{"keep":"all"}`, `{"keep":"for","duration":"P30D"}` (weeks, days, hours, minutes, seconds) or `{"keep":"last","versions":5}`.',
});
export const retentionAnswer = z
  .union([
    z.strictObject({ keep: z.literal('all') }),
    z.strictObject({ keep: z.literal('for'), duration: z.string() }),
    z.strictObject({ keep: z.literal('last'), versions: z.number().int().min(1) }),
  ])
  .meta({ id: 'Retention' });

const pointText = z.string().min(1).max(64);
export const snapshotEnvelope = z.strictObject({ asOf: pointText });
export const snapshotAnswer = z
  .strictObject({
    name: z.string(),
    asOf: pointText,
    positions: z
      .array(recordIdText.nullable())
      .meta({ description: 'Per shard the last record it sees; null for none, or a shard its point does not reach.' }),
  })
  .meta({ id: 'Snapshot' });
export const snapshotsAnswer = z.strictObject({ snapshots: z.array(snapshotAnswer) });

export const compactionEnvelope = z.strictObject({
  shard: z.number().int().min(1).max(65_535).optional(),
  collection: z.string().optional(),
  force: z.boolean().optional(),
});
export const erasureEnvelope = z.strictObject({ collection: z.string(), key: z.string(), reason: z.string() });

export const verificationEnvelope = z.strictObject({
  shard: z.number().int().min(1).max(65_535).optional(),
  peers: z
    .array(z.string().min(1).max(2048))
    .max(64)
    .optional()
    .meta({ description: 'URLs of nodes to compare with, and to ask for what is damaged; those of the configuration by default.' }),
  repair: z.boolean().optional().meta({ description: 'Mend what is damaged here, and what differs from the owner.' }),
  deep: z.boolean().optional().meta({ description: 'Read every byte of every file here first.' }),
});

export const jobEnvelope = z.strictObject({ paused: z.boolean() });
export const jobAnswer = z
  .strictObject({
    id: z.string().regex(/^[0-9a-f]{16}$/),
    kind: z.enum(['compaction', 'erasure', 'verification']),
    state: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
    paused: z.boolean().meta({ description: 'Nothing of it goes on until it is resumed.' }),
    progress: z.number().min(0).max(1),
    request: z.json(),
    created: timeText,
    started: timeText.nullable(),
    ended: timeText.nullable(),
    result: z.json().meta({
      description:
        'Of a compaction: bytes and records before and after, and a certificate a shard. Of a verification: replicas, and what was found. Null until it is done.',
    }),
    error: z.string().nullable(),
  })
  .meta({ id: 'Job' });
export const jobsAnswer = z.strictObject({ jobs: z.array(jobAnswer) });

export type SnapshotAnswer = z.infer<typeof snapshotAnswer>;
