/**
 * Tells whether a directory lives on a network file system, where locks and syncs promise less than we need.
 *
 * Linux says so by the magic number of statfs. FUSE is one number for everything built on it, most of it
 * local, so there the mount table decides, and only by names that can mean nothing else. Other systems have
 * no such numbers: they count as local.
 */
import { readFileSync, realpathSync, statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

const FUSE = 0x65735546;

const NETWORK_MAGIC: ReadonlyMap<number, string> = new Map([
  [0x00006969, 'nfs'],
  [0x0000517b, 'smb'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
  [0x01021997, '9p'],
  [0x00c36400, 'ceph'],
  [0x5346414f, 'afs'],
  [0x6b414653, 'afs'],
  [0x73757245, 'coda'],
  [0x0000564c, 'ncp'],
  [0x0bd00bd0, 'lustre'],
  [0x19830326, 'beegfs'],
]);

const NETWORK_FUSE: ReadonlySet<string> = new Set([
  'sshfs',
  's3fs',
  'gcsfuse',
  'rclone',
  'glusterfs',
  'goofys',
  'blobfuse',
  'blobfuse2',
  'curlftpfs',
  'davfs',
  'juicefs',
  'ceph',
]);

/** Its name, or undefined for a local one. A directory that does not exist yet counts as its nearest existing parent. */
export function networkKindOf(directory: string): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const { existing, type } = nearestExisting(resolve(directory));
  const magic = Number(type) >>> 0;
  if (magic !== FUSE) return NETWORK_MAGIC.get(magic);
  try {
    return networkFuse(readFileSync('/proc/self/mountinfo', 'utf8'), realpathSync(existing));
  } catch {
    return undefined;
  }
}

function nearestExisting(path: string): { readonly existing: string; readonly type: number } {
  for (let existing = path; ; existing = dirname(existing)) {
    try {
      return { existing, type: statfsSync(existing).type };
    } catch (error) {
      if (dirname(existing) === existing) throw error;
    }
  }
}

/** The FUSE program behind the innermost mount that holds `path`, if it is one that goes over a network. */
export function networkFuse(mountInfo: string, path: string): string | undefined {
  let longest = -1;
  let kind = '';
  for (const line of mountInfo.split('\n')) {
    // 36 35 98:0 /root /mount/point options… - type source super-options
    const [before, after] = line.split(' - ');
    const mountPoint = before?.split(' ')[4]?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
    if (mountPoint === undefined || after === undefined) continue;
    const within = path === mountPoint || path.startsWith(mountPoint === '/' ? '/' : `${mountPoint}/`);
    // A later line with the same mount point lies on top of the earlier one.
    if (!within || mountPoint.length < longest) continue;
    longest = mountPoint.length;
    kind = after.split(' ')[0] ?? '';
  }
  const program = kind.startsWith('fuse.') ? kind.slice('fuse.'.length) : '';
  return NETWORK_FUSE.has(program) ? program : undefined;
}
