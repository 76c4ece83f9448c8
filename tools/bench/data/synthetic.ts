/**
 * The synthetic data set: customers as JSON of some 240 bytes. Entities are created in random order, evenly among updates of
 * those that exist; an update picks the entity at rank r with a weight of r^-0.8, so a few are changed thousands of times
 * and nearly half have one version, as entities of real systems do.
 */
import type { JsonValue } from '../../../engine/index.js';
import { picker, type Source } from './data.js';

const SKEW = 0.8;
const FIRST_NAMES = 'Aino Bela Carla Dmitri Edda Farid Greta Hasan Ilse Joris Katya Lucia Matteo Nora Oskar Priya'.split(' ');
const LAST_NAMES =
  'Abbott Bianchi Carvalho Dahl Ekberg Ferrari Gruber Hoang Ivanova Jansen Keller Larsen Moretti Nguyen Olsen Pereira'.split(' ');
const STREETS = ['Bridge Street', 'Linden Road', 'Quay Side', 'Orchard Lane', 'North Square', 'Castle Hill', 'Weaver Row', 'Garden Walk'];
const CITIES = 'Aarhus Bergen Bologna Dresden Nantes Porto Utrecht Valencia'.split(' ');
const TAGS = ['priority', 'wholesale', 'export', 'prospect', 'dormant', 'late-payer', 'subscriber', 'press'];

export function synthetic(entities: number, versionsPer: number, seed: number): Source {
  return { entities, order: orderOf(entities, versionsPer, seed), keyOf: customerKey, bodyOf: (e, v) => customer(e, v, seed) };
}

function customerKey(entity: number): string {
  return `customer/${String(entity).padStart(8, '0')}`;
}

/** A float in [0, 1) from 32 bits. */
function floats(seed: number): () => number {
  const pick = picker(seed);
  return () => pick(0x1_0000_0000) / 0x1_0000_0000;
}

function orderOf(entities: number, versionsPer: number, seed: number): Uint32Array {
  const random = floats(seed);
  const creations = new Uint32Array(entities).map((_, entity) => entity);
  for (let left = entities - 1; left > 0; left--) {
    const other = Math.floor(random() * (left + 1));
    const kept = creations[left]!;
    creations[left] = creations[other]!;
    creations[other] = kept;
  }
  const total = entities * versionsPer;
  const order = new Uint32Array(total);
  let created = 0;
  for (let version = 0; version < total; version++) {
    const creates = created === 0 || random() < (entities - created) / (total - version);
    order[version] = creates ? creations[created++]! : creations[skewed(random(), created)]!;
  }
  return order;
}

/** Rank below `count`, by the inverse of the distribution's sum taken as an integral. */
function skewed(uniform: number, count: number): number {
  const rest = 1 - SKEW;
  return Math.min(count, Math.floor(((count ** rest - 1) * uniform + 1) ** (1 / rest))) - 1;
}

function customer(entity: number, version: number, seed: number): JsonValue {
  // What stays with the entity comes from its own numbers, what changes from the version's.
  const own = picker(Math.imul(entity + 1, 0x85ebca6b) ^ seed);
  const now = picker(Math.imul(version + 1, 0xc2b2ae35) ^ Math.imul(entity + 7, 0x27d4eb2f) ^ seed);
  own(2);
  now(2);
  const first = FIRST_NAMES[own(16)]!;
  const last = LAST_NAMES[own(16)]!;
  return {
    id: entity,
    name: `${first} ${last}`,
    email: `${first}.${last}${entity}@example.com`.toLowerCase(),
    address: { street: `${1 + now(200)} ${STREETS[now(8)]!}`, city: CITIES[now(8)]!, zip: String(10000 + now(89999)) },
    balance: now(10_000_000) / 100,
    tags: [TAGS[now(8)]!, TAGS[now(8)]!],
    active: now(10) > 0,
    updatedAt: new Date(1_700_000_000_000 + version * 250).toISOString(),
  };
}
