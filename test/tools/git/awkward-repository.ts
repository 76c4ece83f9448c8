/** Everything about git that an import could get wrong, in one small history. */
import { type MadeRepository, makeRepository, utf8 } from './made-repository.js';

const SUBMODULE = '1234567890123456789012345678901234567890';

/** Paths that can never be keys: every test that compares trees leaves these out. */
export const UNTAKEABLE = ['tab\there', 'new\nline', 'not-\xff-utf8', `long/${'x'.repeat(600)}`, utf8('c1-\u0085')];

export function makeAwkwardRepository(): MadeRepository {
  const repo = makeRepository();
  repo.add([
    {
      message: 'root\n',
      files: [
        { path: 'README', content: 'hello\n' },
        { path: 'empty', content: '' },
        { path: 'src/a.txt', content: 'a\n' },
      ],
    },
    { message: '', files: [{ path: 'run.sh', content: '#!/bin/sh\n', mode: '100755' }] },
    { message: 'rename\n', files: [{ path: 'src/a.txt' }, { path: 'lib/a.txt', content: 'a\n' }] },
    { message: 'mode alone\n', files: [{ path: 'README', content: 'hello\n', mode: '100755' }] },
    {
      message: 'odd names\n',
      files: [
        { path: ' leading and trailing ', content: '1' },
        { path: '-rf', content: '2' },
        { path: '--help', content: '3' },
        { path: 'quote"\\back\'s', content: '4' },
        { path: utf8('größe/日本/🦆'), content: '5' },
        { path: utf8('composed-é'), content: 'nfc' },
        { path: utf8('composed-e\u0301'), content: 'nfd' },
        { path: 'a b%2Fc?d#e&f', content: '6' },
        { path: '...', content: '7' },
        { path: ':(glob)*', content: '8' },
        { path: '"#0"', content: '9' },
        ...UNTAKEABLE.map((path) => ({ path, content: 'untakeable' })),
      ],
    },
    {
      message: 'binary\n',
      files: [
        { path: 'image.bin', content: Buffer.from([0, 255, 128, 10, 13, 0]) },
        { path: 'nul.txt', content: 'text\0with nul' },
        { path: 'bom.txt', content: Buffer.from([0xef, 0xbb, 0xbf, 0x61]) },
        { path: 'crlf.txt', content: 'a\r\nb\r\n' },
        { path: 'cesu.bin', content: Buffer.from([0xed, 0xa0, 0x80]) },
      ],
    },
    {
      message: 'over the body limit\n',
      files: [
        { path: 'large.txt', content: 'x'.repeat(1024 * 1024) },
        { path: 'just.txt', content: 'y'.repeat(1024 * 1024 - 300) },
      ],
    },
    {
      message: 'links\n',
      files: [
        { path: 'link', content: 'README', mode: '120000' },
        { path: 'sub', content: SUBMODULE, mode: '160000' },
      ],
    },
    { message: 'nothing changed\n' },
    {
      message: 'file becomes link, link becomes file\n',
      files: [
        { path: 'link', content: 'plain\n' },
        { path: 'empty', content: 'README', mode: '120000' },
      ],
    },
    { message: 'file becomes directory\n', files: [{ path: 'README' }, { path: 'README/inside', content: 'in\n' }] },
    { message: 'and back\n', files: [{ path: 'README/inside' }, { path: 'README', content: 'out\n' }] },
    {
      message: 'file becomes submodule, submodule becomes file\n',
      files: [
        { path: 'run.sh', content: SUBMODULE, mode: '160000' },
        { path: 'sub', content: 'now a file\n' },
      ],
    },
    { message: 'submodule goes\n', files: [{ path: 'run.sh' }, { path: 'tab\there' }] },
    { message: 'clock runs backwards\n', committed: '999990000 +0000', files: [{ path: 'clock', content: 'back\n' }] },
    { message: 'same second\n', committed: '999990000 +0000', files: [{ path: 'clock', content: 'same\n' }] },
    {
      message: 'from the future\n',
      committed: '7258118400 +0000',
      authored: '7258118400 -1130',
      files: [{ path: 'clock', content: 'future\n' }],
    },
    { message: 'the first day\n', committed: '0 +0000', authored: '0 -0500', files: [{ path: 'clock', content: 'epoch\n' }] },
    {
      message: 'half an hour\n',
      committed: '1100000000 +0530',
      authored: '1099999999 -0330',
      files: [{ path: 'clock', content: 'india\n' }],
    },
    {
      message: Buffer.from('caf\xe9 in latin1\n', 'latin1'),
      author: Buffer.from('Ren\xe9 <rene@example.com>', 'latin1'),
      encoding: 'ISO-8859-1',
      files: [{ path: 'encoding', content: 'declared\n' }],
    },
    { message: Buffer.from('caf\xe9 undeclared\n', 'latin1'), files: [{ path: 'encoding', content: 'undeclared\n' }] },
    {
      message: 'subject\nstill subject\n\nbody "quoted" \\ \u2028 🦆\n',
      author: utf8('') + ' <>',
      files: [{ path: 'encoding', content: 'message\n' }],
    },
    {
      branch: 'side',
      from: 'refs/heads/main',
      message: 'side 1\n',
      files: [
        { path: 'side', content: 'one\n' },
        { path: 'clock', content: 'side\n' },
      ],
    },
    { branch: 'side', message: 'side 2\n', files: [{ path: 'side', content: 'two\n' }, { path: 'lib/a.txt' }] },
    { message: 'meanwhile\n', files: [{ path: 'meanwhile', content: 'main\n' }] },
    {
      message: 'merge\n',
      merges: ['refs/heads/side'],
      files: [{ path: 'side', content: 'two\n' }, { path: 'clock', content: 'merged\n' }, { path: 'lib/a.txt' }],
    },
    {
      message: 'everything but one goes\n',
      files: [{ path: utf8('größe/日本/🦆') }, { path: 'image.bin' }, { path: 'nul.txt' }, { path: 'large.txt' }],
    },
  ]);
  return repo;
}
