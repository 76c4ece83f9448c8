/** Settings: flags > environment > file > default, and clear words for what cannot be used. */
import { describe, expect, it } from 'vitest';
import { type FlagValues, limitsOf, loadConfig, openOptionsOf } from '../../server/config.js';
import { environmentName, flagName, SETTINGS } from '../../server/index.js';

/** Of the settings that a 1 does not fit. */
const FITTING: Readonly<Record<string, string>> = {
  listen: '[::1]:1',
  logLevel: 'warn',
  compactHours: '22-6',
  follow: 'http://a:1',
  replicas: 'http://a:1,https://b:2',
  advertise: 'http://a:1',
  acksTimeout: '5s',
  scrubEvery: 'off',
};

function load(flags: FlagValues = {}, env: Record<string, string> = {}, file?: string) {
  return loadConfig({
    flags: file === undefined ? flags : { ...flags, config: 'varve.json' },
    env,
    readText: (path) => {
      if (path !== 'varve.json' || file === undefined) throw new Error('no such file');
      return file;
    },
  });
}

describe('settings', () => {
  it('defaults to this machine and a directory beside', () => {
    expect(load()).toMatchObject({ listen: '127.0.0.1:7411', data: './varve-data', shards: undefined, maxBodyBytes: 1024 * 1024 });
  });

  it('takes flags before the environment, that before the file, that before the default', () => {
    const file = '{"data":"file","shards":3,"listen":"127.0.0.1:3"}';
    const env = { VARVE_DATA: 'env', VARVE_SHARDS: '2' };
    expect(load({ data: 'flag' }, env, file)).toMatchObject({ data: 'flag', shards: 2, listen: '127.0.0.1:3' });
    expect(load({}, { VARVE_DATA: '' }, file).data).toBe('file');
  });

  it('finds the file through the environment as well', () => {
    expect(load({}, { VARVE_CONFIG: 'varve.json' }, '{"maxBodyBytes":"2MiB"}').maxBodyBytes).toBe(2 * 1024 * 1024);
  });

  it('every setting has a flag and a variable of its name', () => {
    expect(flagName('maxBodyBytes')).toBe('--max-body-bytes');
    expect(environmentName('maxBodyBytes')).toBe('VARVE_MAX_BODY_BYTES');
    for (const name of Object.keys(SETTINGS)) expect(load({}, { [environmentName(name)]: FITTING[name] ?? '1' })).toBeDefined();
  });

  it('reads sizes with units', () => {
    for (const [text, bytes] of [
      ['10', 10],
      ['1k', 1000],
      ['64KiB', 65_536],
      ['1 MB', 1e6],
      ['2gib', 2 ** 31],
    ] as const) {
      expect(load({ segmentBytes: text }).segmentBytes, text).toBe(bytes);
    }
  });

  it.each([
    [{ compactDeadShare: '0' }, {}, undefined, /--compact-dead-share must be a number above 0 and up to 1/],
    [{ compactDeadShare: '30%' }, {}, undefined, /--compact-dead-share/],
    [{ compactAuto: 'sometimes' }, {}, undefined, /--compact-auto must be true or false/],
    [{ compactBytesPerSecond: 'fast' }, {}, undefined, /--compact-bytes-per-second/],
    [{ compactCompress: 'zstd' }, {}, undefined, /--compact-compress must be true or false/],
    [{ compactHours: '22' }, {}, undefined, /--compact-hours must be two hours of the day/],
    [{ compactHours: '22-25' }, {}, undefined, /--compact-hours/],
    [{}, { VARVE_COMPACT_HOURS: '6-6' }, undefined, /VARVE_COMPACT_HOURS/],
    [{ shards: '0' }, {}, undefined, /--shards must be a whole number from 1 to 65535/],
    [{}, { VARVE_SHARDS: 'two' }, undefined, /VARVE_SHARDS/],
    [{ maxBodyBytes: '1 furlong' }, {}, undefined, /--max-body-bytes must be a number of bytes/],
    [{ logLevel: 'loud' }, {}, undefined, /--log-level must be one of/],
    [{}, {}, '{"datum":"x"}', /unknown key 'datum'/],
    [{}, {}, '{"data":{}}', /data in the config file/],
    [{}, {}, '[]', /one JSON object/],
    [{}, {}, '{"data":"a","data":"b"}', /cannot read the config file/],
    [{ config: 'other.json' }, {}, undefined, /cannot read the config file other.json: no such file/],
    [{ listen: '7411' }, {}, undefined, /expected HOST:PORT/],
    [{ listen: '127.0.0.1:70000' }, {}, undefined, /expected HOST:PORT/],
  ] as const)('refuses %j %j %s', (flags, env, file, message) => {
    expect(() => load(flags, env as Record<string, string>, file)).toThrow(message);
  });

  it('hands the engine its part and the server its own', () => {
    const config = load({ shards: 4, maxBodyBytes: '2MiB', allowNetworkFileSystem: true });
    expect(openOptionsOf(config)).toEqual({
      shards: 4,
      maxBodyBytes: 2 ** 21,
      maxBatchBytes: 2 ** 25,
      allowNetworkFileSystem: true,
      upkeep: { automatic: true },
    });
    expect(limitsOf(config)).toMatchObject({ maxBodyBytes: 2 ** 21, maxLineBytes: 2 ** 21 + 65_536 });
  });

  it('decides how the engine gives space back', () => {
    const flags = {
      compactAuto: 'false',
      compactDeadShare: '.5',
      compactDeadBytes: '1GB',
      compactBytesPerSecond: '8MiB',
      compactCompress: 'off',
      compactHours: '22-6',
    };
    expect(openOptionsOf(load(flags)).upkeep).toEqual({
      automatic: false,
      deadShare: 0.5,
      deadBytes: 1e9,
      bytesPerSecond: 2 ** 23,
      compress: false,
      hours: [22, 6],
    });
  });
});
