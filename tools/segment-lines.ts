/**
 * The records of a segment file as lines for `load`: how what a rewind set aside comes back, as new records.
 *
 * Batches stay batches. Times and ids are given anew; refs to records of the same file follow them, others stay as they are.
 * What belongs to the system, and bodies that were erased, are left out.
 */
import { basename, dirname, resolve } from 'node:path';
import { recordId } from '../engine/index.js';
import { segmentFileBatches } from '../engine/inspect.js';
import { renewedLine } from './dump-format.js';

const KIND_PUT = 1;

export async function* segmentLines(file: string): AsyncGenerator<Buffer> {
  for (const { shard, batch } of segmentFileBatches(dirname(resolve(file)), basename(file))) {
    const records = batch.records
      .filter(({ collectionText, bodyHash }) => !collectionText.startsWith('_') && bodyHash === undefined)
      .map((record) => ({
        id: recordId(shard, record.seq),
        collection: record.collectionText,
        key: record.keyText,
        refs: record.refs.map((seq) => recordId(shard, seq)),
        body: record.kind === KIND_PUT ? record.bodyText : undefined,
      }));
    if (records.length > 0) yield Buffer.from(renewedLine(records));
  }
}
