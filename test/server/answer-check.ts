/**
 * Holds every answer that a test sees to the OpenAPI document that the server gives out: known path, method and status, headers that are
 * described, bodies that fit their schema (JSON Schema 2020-12, through ajv). Called by the client of support.ts for each answer.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { describeApi } from '../../server/openapi.js';
import { OPERATIONS } from '../../server/routes/table.js';
import { VERSION } from '../../server/version.js';

interface Schema {
  readonly $ref?: string;
  readonly 'x-varve-line'?: Schema;
  readonly format?: string;
}
interface Described {
  readonly $ref?: string;
  readonly headers?: Readonly<Record<string, { readonly required?: boolean; readonly schema: Schema }>>;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}
interface Document {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { readonly operationId: string; readonly responses: Readonly<Record<string, Described>> }>>>
  >;
  readonly components: { readonly responses: Readonly<Record<string, Described>> };
}

export interface SeenAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** What any answer of HTTP may carry, and what all of ours do. */
const PLAIN_HEADERS = new Set([
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'content-type',
  'cache-control',
  'x-content-type-options',
  'cross-origin-resource-policy',
]);

const document = JSON.parse(JSON.stringify(describeApi(OPERATIONS, VERSION))) as Document;
const ajv = new Ajv2020({ strict: false, allErrors: false });
(addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
ajv.addFormat('base64', /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/);
ajv.addSchema({ $id: 'openapi', ...document });
const PATHS = Object.keys(document.paths).map((template) => ({
  template,
  pattern: new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
}));
const compiled = new Map<string, ValidateFunction>();

/** Throws where the answer is not as described. `sent`: as the client wrote it. */
export function checkAnswer(sent: { readonly method: string; readonly path: string }, answer: SeenAnswer): void {
  const [path = '', query = ''] = sent.path.split('?', 2);
  const where = `${sent.method} ${sent.path} -> ${answer.status}`;
  const templates = PATHS.filter(({ pattern }) => pattern.test(path)).map(({ template }) => template);
  // The templates of one length never overlap but where one is a name and the other a parameter.
  const template = templates.find((one) => !one.includes('{')) ?? templates[0];
  if (template === undefined) return checkProblem(where, answer);
  const method = sent.method === 'HEAD' ? 'get' : sent.method.toLowerCase();
  const operation = document.paths[template]![method];
  if (operation === undefined) {
    if (sent.method === 'OPTIONS' && answer.status === 204) return;
    return checkProblem(where, answer);
  }
  const there = operation.responses[String(answer.status)];
  const pointer = there?.$ref ?? `#/paths/${escapePointer(template)}/${method}/responses/${answer.status}`;
  const described = there?.$ref === undefined ? there : document.components.responses[there.$ref.split('/').pop()!];
  if (described === undefined)
    throw new Error(`${where}: ${operation.operationId} describes no ${answer.status}: ${answer.text.slice(0, 200)}`);
  checkHeaders(where, described, answer, pointer, sent.method === 'HEAD');
  if (sent.method === 'HEAD') return;
  checkContent(where, described, answer, pointer);
  if (operation.operationId === 'getEntity' && answer.status === 200 && !/(?:^|&)view=body/.test(query))
    check(`${where}: the record`, '#/components/schemas/Record', JSON.parse(answer.text));
}

/** Of paths and methods that there are none of, and of refusals at the door. */
function checkProblem(where: string, { status, headers, text }: SeenAnswer): void {
  if (headers['content-type'] !== 'application/problem+json') throw new Error(`${where}: neither described nor a problem`);
  if (where.startsWith('HEAD')) return;
  const problem = JSON.parse(text);
  check(`${where}: the problem`, '#/components/schemas/Problem', problem);
  if (problem.status !== status) throw new Error(`${where}: the problem says ${problem.status}`);
}

function checkHeaders(where: string, described: Described, { headers }: SeenAnswer, pointer: string, head: boolean): void {
  const known = new Set(PLAIN_HEADERS);
  for (const [name, { required, schema }] of Object.entries(described.headers ?? {})) {
    const lower = name.toLowerCase();
    known.add(lower);
    const value = headers[lower];
    if (value === undefined && required === true) throw new Error(`${where}: the header ${name} is missing`);
    if (value !== undefined) check(`${where}: ${name}`, schema.$ref ?? `${pointer}/headers/${escapePointer(name)}/schema`, value);
  }
  const unknown = Object.keys(headers).filter((name) => !known.has(name));
  if (unknown.length > 0) throw new Error(`${where}: headers that are not described: ${unknown.join(', ')}`);
  if (!head && described.content === undefined && headers['content-type'] !== undefined)
    throw new Error(`${where}: a body that is not described`);
}

function checkContent(where: string, described: Described, { headers, text }: SeenAnswer, pointer: string): void {
  if (described.content === undefined) {
    if (text !== '') throw new Error(`${where}: a body that is not described`);
    return;
  }
  const type = String(headers['content-type']);
  const content = described.content[type];
  if (content === undefined) throw new Error(`${where}: the media type ${type} is not described`);
  const schema = `${pointer}/content/${escapePointer(type)}/schema`;
  const line = content.schema['x-varve-line'];
  if (line !== undefined) {
    for (const each of linesOf(type, text)) check(`${where}: the line ${each.slice(0, 200)}`, line.$ref!, JSON.parse(each));
  } else if (/json$/.test(type)) check(`${where}: ${text.slice(0, 300)}`, schema, JSON.parse(text));
}

/** JSON texts of a stream: lines, or the data of events. */
function linesOf(type: string, text: string): string[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return type === 'text/event-stream' ? lines.flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : [])) : lines;
}

function escapePointer(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
}

function check(where: string, ref: string, value: unknown): void {
  let validate = compiled.get(ref);
  if (validate === undefined) {
    validate = ajv.compile({ $ref: `openapi${ref}` });
    compiled.set(ref, validate);
  }
  if (!validate(value)) throw new Error(`${where} is not as described: ${ajv.errorsText(validate.errors)}`);
}
