/** The record that all examples speak of. */
export const HEADER_EXAMPLE = {
  id: '0001000000000a3f',
  shard: 1,
  seq: 2623,
  time: '2026-11-21T08:00:00.000000Z',
  collection: 'customers',
  key: 'alice',
  supersedes: '00010000000009c1',
  refs: [],
  deleted: false,
  hash: '5f2b1a6f7d3c0e9488a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f607',
} as const;

export const RECORD_EXAMPLE = { ...HEADER_EXAMPLE, body: { name: 'Alice', city: 'Turku' } } as const;
