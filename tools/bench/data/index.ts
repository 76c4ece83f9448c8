/** Builds a data set from its settings. */
import { DataSet, type DataSettings } from './data.js';
import { gitHistory } from './git.js';
import { synthetic } from './synthetic.js';

export { BASE, type BenchRecord, DataSet, type DataSettings, picker } from './data.js';
export { extract } from './git.js';

export function dataSet(settings: DataSettings): DataSet {
  if (settings.data === 'synthetic') return new DataSet(synthetic(settings.entities, settings.versionsPer, settings.seed));
  if (settings.file === undefined) throw new Error('a git data set needs its file');
  return new DataSet(gitHistory(settings.file, settings.entities));
}
