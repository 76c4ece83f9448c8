/** A process of its own that takes the lock of the directory it is given, says how that went, and holds it until it dies. */
import { isVarveError } from '../../engine/errors.js';
import { nodePlatform } from '../../engine/platform/node.js';

try {
  nodePlatform(process.argv[2] ?? '').files.lock('lock.sqlite');
  console.log('locked');
  process.stdin.resume();
} catch (error) {
  console.log(isVarveError(error, 'LOCKED') ? 'LOCKED' : error);
}
