/** What the tests of the doors share: tokens ready to use, files in a Map, a log in memory, and certificates made here. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { createToken, type Disk, formatTokens, type NewToken, type StoredFile, type TokenRecord } from '../../server/index.js';
import { createLogger, type Logger, type LogLevel } from '../../server/logging.js';

export interface Token {
  readonly text: string;
  readonly record: TokenRecord;
  readonly headers: { readonly Authorization: string };
}

export function token(role: NewToken['role'], ...collections: string[]): Token {
  const made = createToken({ role, collections }, new Date(0));
  return { ...made, headers: { Authorization: `Bearer ${made.text}` } };
}

/** Files that tests write; each writing is another stamp. */
export class MapDisk implements Disk {
  readonly #files = new Map<string, StoredFile & { version: number }>();
  #version = 0;

  write(path: string, text: string | Uint8Array, mode = 0o600): void {
    this.#files.set(path, { bytes: Buffer.from(text), mode, version: ++this.#version });
  }
  tokens(path: string, ...tokens: readonly Token[]): void {
    this.write(path, formatTokens(tokens.map(({ record }) => record)));
  }
  remove(path: string): void {
    this.#files.delete(path);
  }
  stamp(path: string): string | undefined {
    return this.#files.get(path)?.version.toString();
  }
  read(path: string): StoredFile | undefined {
    return this.#files.get(path);
  }
}

export function memoryLog(level: LogLevel = 'trace'): { logger: Logger; lines: string[]; text(): string } {
  const lines: string[] = [];
  return { logger: createLogger(level, { write: (line) => lines.push(line) }), lines, text: () => lines.join('') };
}

// --- certificates: X.509 in DER, written by hand because nothing at hand makes them

const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const n = content.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};
const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const oid = (hexBytes: string) => der(0x06, Buffer.from(hexBytes, 'hex'));
const integer = (bytes: Uint8Array) => der(0x02, bytes[0]! & 0x80 ? Buffer.from([0, ...bytes]) : bytes);
const name = (text: string) => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(text)))));
const time = (text: string) => der(0x18, Buffer.from(text));
const octets = (bytes: Uint8Array) => der(0x04, bytes);
const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));

export interface Identity {
  readonly name: string;
  readonly cert: string;
  readonly key: string;
}

/** A certificate for this machine, or of an authority; signed by `issuer`, or by itself. */
export function certificate(subject: string, options: { issuer?: Identity; authority?: boolean } = {}): Identity {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const signer: KeyObject = options.issuer === undefined ? privateKey : createPrivateKey(options.issuer.key);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const basic = sequence(oid('551d13'), der(0x01, Buffer.from([0xff])), octets(sequence(der(0x01, Buffer.from([0xff])))));
  const alternatives = sequence(
    oid('551d11'),
    octets(sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])))),
  );
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.from([0x40, ...randomBytes(8)])),
    ECDSA_SHA256,
    name(options.issuer?.name ?? subject),
    sequence(time('20200101000000Z'), time('29991231235959Z')),
    name(subject),
    spki,
    der(0xa3, sequence(options.authority === true ? basic : alternatives)),
  );
  const whole = sequence(body, ECDSA_SHA256, der(0x03, Buffer.from([0]), sign('sha256', body, signer)));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    name: subject,
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
