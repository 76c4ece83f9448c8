/** A real browser: Debian's Chromium, driven over its own protocol. `npm test` brings it where it is missing and may. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** Throws where there is none: a test that needs one does not pass without it. */
export function browserPath(): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin'];
  const candidates = [process.env['VARVE_TEST_BROWSER'] ?? '', ...folders.flatMap((folder) => NAMES.map((name) => join(folder, name)))];
  const found = candidates.find((path) => path !== '' && isExecutable(path));
  if (found === undefined) throw new Error('there is no Chromium: apt-get install chromium, or name one in VARVE_TEST_BROWSER');
  return found;
}

export function launchBrowser(): Promise<Browser> {
  // Its sandbox wants what a container does not have; the pages are our own.
  return chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
