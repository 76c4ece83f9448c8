/**
 * Certificates: read through borrowed hands, checked before they are used, and taken anew when their files change or on SIGHUP.
 *
 * Invariants: what does not fit together (a key of another certificate, no PEM) is refused with the name of the setting; at run time
 * the ones before stay in force then. Keys never reach a log.
 */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { Disk } from './disk.js';
import { ConfigError } from './guard.js';

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Certificates of the authorities that a client's must come from; given, every client needs one. */
  readonly clientCa?: string;
}

export interface TlsMaterial {
  readonly options: SecureContextOptions;
  readonly clientCertificates: boolean;
  /** For the log and for warnings. */
  readonly subject: string;
  readonly validTo: string;
}

const MIN_VERSION = 'TLSv1.2';

/** Throws ConfigError that names the setting. */
export function readTls(disk: Disk, files: TlsFiles): TlsMaterial {
  const cert = readPem(disk, files.cert, 'tlsCert');
  const key = readPem(disk, files.key, 'tlsKey');
  const ca = files.clientCa === undefined ? undefined : readPem(disk, files.clientCa, 'tlsClientCa');
  let first: X509Certificate;
  try {
    first = new X509Certificate(cert);
  } catch {
    throw new ConfigError(`tlsCert: ${files.cert} holds no certificate in PEM`);
  }
  if (ca !== undefined) {
    try {
      new X509Certificate(ca);
    } catch {
      throw new ConfigError(`tlsClientCa: ${files.clientCa} holds no certificate in PEM`);
    }
  }
  const options: SecureContextOptions = { cert, key, minVersion: MIN_VERSION, ...(ca === undefined ? {} : { ca }) };
  try {
    createSecureContext(options);
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'it is not a private key in PEM';
    throw new ConfigError(`tlsKey: ${files.key} is not the private key of ${files.cert} (${why})`);
  }
  return { options, clientCertificates: ca !== undefined, subject: first.subject, validTo: first.validTo };
}

/** Throws ConfigError that names the setting. */
export function readPem(disk: Disk, path: string, setting: string): Buffer {
  try {
    const file = disk.read(path);
    if (file !== undefined) return Buffer.from(file.bytes);
  } catch (error) {
    throw new ConfigError(`${setting}: cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`);
  }
  throw new ConfigError(`${setting}: there is no file ${path}`);
}
