/** Bytes from git as text: strictly where they name something or are content, with replacement where they only tell. */

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const LOOSE = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

/** Undefined where the bytes are not UTF-8. A byte order mark stays: it is content. */
export function strictText(bytes: Uint8Array): string | undefined {
  try {
    return STRICT.decode(bytes);
  } catch {
    return undefined;
  }
}

/** `replaced` tells that some bytes were not UTF-8 and became U+FFFD. */
export function looseText(bytes: Uint8Array): { text: string; replaced: boolean } {
  const strict = strictText(bytes);
  return strict === undefined ? { text: LOOSE.decode(bytes), replaced: true } : { text: strict, replaced: false };
}
