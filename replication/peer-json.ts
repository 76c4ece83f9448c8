/**
 * One small JSON answer from a peer: read to its end under a cap, parsed strictly. Whatever is not such an answer is a PeerError.
 */
import { parseStrict } from '../engine/index.js';
import { PeerError, type PeerRequest, type PeerResponse, type Transport } from './transport.js';

const MAX_BYTES = 4 * 1024 * 1024;

export interface JsonAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Untrusted; undefined for an empty body. */
  readonly json: unknown;
}

export async function askJson(transport: Transport, url: string, request: PeerRequest): Promise<JsonAnswer> {
  return readJson(url, await transport.request(url, request));
}

export async function readJson(url: string, { status, headers, body }: PeerResponse): Promise<JsonAnswer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > MAX_BYTES) throw new PeerError(url, `its answer is over ${MAX_BYTES} bytes`, false);
    parts.push(part);
  }
  if (bytes === 0) return { status, headers, json: undefined };
  try {
    return { status, headers, json: parseStrict(Buffer.concat(parts)) };
  } catch (error) {
    throw new PeerError(url, 'its answer is not JSON', false, { cause: error });
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
