/**
 * The bounds that more than one module has to agree on. A bound of a format (what the bytes can hold) is a law; a default is
 * what a database is opened with unless told otherwise. All sizes in bytes unless the name says otherwise.
 */

/** Of a collection name; ASCII, so characters too. */
export const MAX_COLLECTION_BYTES = 64;
/** Of a key, in UTF-8. */
export const MAX_KEY_BYTES = 512;
/** Of an entity as bytes: collection 00 key 00. */
export const MAX_ENTITY_BYTES = MAX_COLLECTION_BYTES + 1 + MAX_KEY_BYTES + 1;
/** Of a tree key: the entity and 6 bytes of inverted seq. */
export const MAX_TREE_KEY_BYTES = MAX_ENTITY_BYTES + 6;

/** Arrays and objects inside each other; the outermost counts. */
export const MAX_JSON_DEPTH = 64;
/** Canonical bytes of one body. */
export const DEFAULT_MAX_BODY_BYTES = 1024 * 1024;
/** Bodies, keys and all else of one batch. */
export const DEFAULT_MAX_BATCH_BYTES = 32 * 1024 * 1024;
export const MAX_REFS_PER_RECORD = 1000;
export const MAX_RECORDS_PER_BATCH = 65_536;
/** Visible ASCII characters. */
export const MAX_IDEMPOTENCY_KEY_CHARS = 255;

/** Why an entity was erased, in UTF-8. */
export const MAX_REASON_BYTES = 1024;
/** Of a node's URL, in UTF-8. */
export const MAX_URL_BYTES = 2048;
/** An epoch begins so many seqs after the one before, so that no seq its owner gave out alone names anything else. */
export const EPOCH_SEQS = 2 ** 32;
/** Runs of seqs in one trim event: about 100 KB of them. */
export const MAX_RUNS_PER_TRIM = 16_384;

/** Random bytes hashed with each body, erased with it. */
export const SALT_BYTES = 16;
export const CONTENT_HASH_BYTES = 16;
/** Largest time there is, in microseconds: 2255-06-05T23:47:34.740991Z. Later ones are not safe integers. */
export const MAX_MICROS = Number.MAX_SAFE_INTEGER;
