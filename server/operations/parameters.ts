/** What stands in paths, by the name of the parameter. */
import { z } from 'zod';
import { recordIdText } from '../schemas.js';

const id = (schema: z.ZodType, name: string) => schema.meta({ ...schema.meta(), param: { id: name } });

export const PATH_PARAMETERS: Readonly<Record<string, z.ZodType>> = {
  collection: id(
    z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_-]{0,63}$/)
      .meta({ description: "The name of a collection. Those that begin with `_` are the system's, readable only.", example: 'customers' }),
    'collection',
  ),
  key: id(
    z.string().min(1).max(512).meta({ description: '1 to 512 bytes of UTF-8, percent-encoded, a `/` too.', example: 'alice' }),
    'key',
  ),
  id: id(z.string().meta({ description: 'The id of a record.', example: recordIdText.meta()?.example }), 'id'),
  shard: id(
    z
      .string()
      .regex(/^[1-9]\d{0,4}$/)
      .meta({
        description: 'The number of a shard, from 1.',
        example: '1',
        override: { type: 'integer', minimum: 1, maximum: 65_535, pattern: undefined },
      }),
    'shard',
  ),
  name: id(z.string().meta({ description: 'The name, as the list of them gives it.' }), 'name'),
};
