/** The settings of a copy, taken together: what belongs together, and clear words for what makes no sense. */
import { describe, expect, it } from 'vitest';
import { type FlagValues, loadConfig } from '../../server/config.js';
import { copiesConfigOf, readPeerCredentials } from '../../server/copies-config.js';
import type { Disk } from '../../server/disk.js';
import { createToken } from '../../server/index.js';

function load(flags: FlagValues) {
  return loadConfig({ flags, env: {}, readText: () => '{}' });
}

const A = 'http://10.0.0.1:7411';
const B = 'http://10.0.0.2:7411';

function diskWith(files: Readonly<Record<string, { text: string; mode?: number }>>): Disk {
  return {
    stamp: () => undefined,
    read: (path) => {
      const file = files[path];
      return file === undefined ? undefined : { bytes: Buffer.from(file.text), mode: file.mode ?? 0o100600 };
    },
  };
}

describe('the settings of a copy', () => {
  it('is alone where nothing is said', () => {
    expect(copiesConfigOf(load({}))).toEqual({ replicas: [], acksTimeoutMs: 5000 });
  });

  it('takes a replica set that names this node, and cuts URLs down to where they point', () => {
    const flags = { replicas: `${A}/, ${B}`, advertise: B, follow: `${A}/`, acksTimeout: '250ms' };
    expect(copiesConfigOf(load(flags))).toEqual({ replicas: [A, B], advertise: B, follow: A, acksTimeoutMs: 250 });
  });

  it.each([
    [{ replicas: `${A},${B}` }, /--replicas needs --advertise/],
    [{ replicas: A, advertise: B }, /--replicas must name this node too/],
    [{ replicas: `${A},${A}/`, advertise: A }, /--replicas names http:\/\/10.0.0.1:7411 twice/],
    [{ follow: A, advertise: A }, /cannot follow itself/],
    [{ follow: A, shards: 4 }, /--shards and --follow do not go together/],
    [{ follow: A, peerCert: 'c' }, /--peer-cert and --peer-key belong together/],
    [{ follow: A, peerCa: 'c' }, /--peer-ca is for peers behind https/],
    [{ follow: '10.0.0.1:7411' }, /--follow must be the URL of a server/],
    [{ follow: 'ftp://a' }, /--follow must be the URL/],
    [{ advertise: 'http://a/b' }, /--advertise must be the URL/],
    [{ follow: 'http://me:secret@a' }, /--follow must be the URL/],
    [{ acksTimeout: '5' }, /--acks-timeout must be a time such as/],
    [{ scrubEvery: '0d' }, /--scrub-every must be a time/],
  ] as const)('refuses %j', (flags, message) => {
    expect(() => copiesConfigOf(load(flags))).toThrow(message);
  });

  it('reads what is shown to the others, and refuses what others can read', () => {
    const { text } = createToken({ role: 'replica' }, new Date(0));
    const config = load({ follow: A, peerTokenFile: 'peer.token' });
    expect(readPeerCredentials(diskWith({ 'peer.token': { text: `${text}\n` } }), config)).toEqual({ token: text });
    expect(() => readPeerCredentials(diskWith({}), config)).toThrow(/there is no file peer.token/);
    expect(() => readPeerCredentials(diskWith({ 'peer.token': { text, mode: 0o100644 } }), config)).toThrow(/chmod 600/);
    expect(() => readPeerCredentials(diskWith({ 'peer.token': { text: 'secret' } }), config)).toThrow(/holds no access token/);
  });
});
