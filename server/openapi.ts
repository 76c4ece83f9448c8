/**
 * The OpenAPI 3.1 description, made from the table of operations and the schemas that validate requests. Made once, when first asked for.
 *
 * Invariant: everything in it follows from what the server does (tests hold every answer they see to it); nothing in it depends on the
 * data or on who asks.
 */
import { z } from 'zod';
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject, type ZodOpenApiResponseObject } from 'zod-openapi';
import { PROBLEM_TYPE } from './answers.js';
import { REQUEST_HEADERS, RESPONSE_HEADERS, type ResponseHeader } from './operations/headers.js';
import { ANYWHERE, type Answer, BEHIND_TOKENS, type Content, OF_THE_DATABASE, TAGS } from './operations/operation.js';
import { PATH_PARAMETERS } from './operations/parameters.js';
import { problemSchema } from './operations/problems.js';
import { KINDS, type Slug } from './problem.js';
import type { Operation } from './routes/table.js';
import { insertLineAnswer, problemAnswer } from './schemas.js';

export type OpenApiDocument = ReturnType<typeof createDocument>;

export function describeApi(operations: readonly Operation[], version: string): OpenApiDocument {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  const shared: Shared = { lines: { Problem: problemAnswer, InsertLineAnswer: insertLineAnswer }, problems: new Map() };
  for (const operation of operations) {
    paths[operation.template] ??= {};
    paths[operation.template]![operation.method.toLowerCase()] = operationObject(operation, shared);
  }
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'Varve',
      version,
      description: INTRODUCTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths: paths as ZodOpenApiPathsObject,
    components: {
      schemas: shared.lines,
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token as `varve token create` shows it once. None is needed while the server has none.',
        },
      },
    },
  });
}

/** Parts of the document that are described once and referred to by name. */
interface Shared {
  readonly lines: Record<string, z.ZodType>;
  readonly problems: Map<string, ZodOpenApiResponseObject>;
}

const INTRODUCTION = [
  'Every version of every entity is kept as an immutable record; every question can be asked as of any point in time.',
  'Ids are strings of 16 lowercase hex digits: the shard (4) and the seq in it (12). Times are RFC 3339 in UTC with microseconds.',
  'Errors are problems (RFC 9457); their `type` is stable. Unknown query parameters and unknown fields are refused. Every answer to HEAD is that to GET without its body; ' +
    'another method than those of a path is 405 with `Allow`; a request that is no HTTP, or has headers over the limit, is answered 400 or 431 and the connection closes.',
].join('\n\n');

function operationObject(operation: Operation, shared: Shared): ZodOpenApiOperationObject {
  const { description, parameters, role, scope } = operation;
  // Every read may ask for a copy that is there.
  const headers = [...(description.headers ?? []), ...(role === 'read' ? (['Varve-Min-Id'] as const) : [])];
  const path = Object.fromEntries(parameters.map((name) => [name, PATH_PARAMETERS[name] ?? z.string()]));
  const header = Object.fromEntries(headers.map((name) => [name, REQUEST_HEADERS[name].optional()]));
  return {
    operationId: description.id,
    tags: [description.tag],
    summary: description.summary,
    ...(description.text === undefined ? {} : { description: description.text }),
    ...(role === 'none' ? { security: [] } : { security: [{ bearer: [] }, {}] }),
    'x-varve-role': role,
    'x-varve-scope': scope,
    requestParams: {
      ...(parameters.length === 0 ? {} : { path: z.object(path) }),
      query: description.query,
      ...(headers.length === 0 ? {} : { header: z.object(header) }),
    },
    ...(description.body === undefined
      ? {}
      : {
          requestBody: {
            description: description.body.description,
            required: description.body.optional !== true,
            content: contents(description.body.content, shared),
          },
        }),
    responses: responses(operation, shared),
  };
}

function responses(operation: Operation, shared: Shared): ZodOpenApiOperationObject['responses'] {
  const { answers } = operation.description;
  const all: Record<string, ZodOpenApiResponseObject> = {};
  for (const [status, answer] of Object.entries(answers)) all[status] = responseObject(answer, shared);
  const problems = problemsOf(operation);
  for (const status of new Set(problems.map((slug) => KINDS[slug].status))) {
    const ofPeers = operation.path.startsWith('/replication/') ? PEER_HEADERS : [];
    const names = [...(PROBLEM_HEADERS[status] ?? []).filter((name) => name !== 'Vary?' || operation.method === 'GET'), ...ofPeers];
    const slugs = problems.filter((slug) => KINDS[slug].status === status);
    all[status] = problemResponse(slugs, names, shared);
  }
  return all as ZodOpenApiOperationObject['responses'];
}

/** Every kind of problem that the operation may end in. */
export function problemsOf({ description, role, path }: Operation): readonly Slug[] {
  return [
    ...new Set([
      ...ANYWHERE,
      ...(role === 'none' ? [] : BEHIND_TOKENS),
      ...(path.startsWith('/v1/') || path.startsWith('/replication/') ? OF_THE_DATABASE : []),
      ...description.problems,
    ]),
  ];
}

function responseObject(answer: Answer, shared: Shared): ZodOpenApiResponseObject {
  return {
    description: answer.description,
    headers: z.object(headerObjects(answer.headers ?? [])),
    ...(answer.content === undefined ? {} : { content: contents(answer.content, shared) }),
  };
}

/** By name of header; a name that ends in `?` is optional. */
function headerObjects(names: readonly string[]): Record<string, z.ZodType> {
  const always = ['Varve-Request-Id?'];
  return Object.fromEntries(
    [...names, ...always].map((name) => {
      const optional = name.endsWith('?');
      const plain = (optional ? name.slice(0, -1) : name) as ResponseHeader;
      const schema: z.ZodType = RESPONSE_HEADERS[plain];
      return [plain, optional ? schema.optional() : schema];
    }),
  );
}

const PROBLEM_HEADERS: Readonly<Record<number, readonly string[]>> = {
  400: ['Connection?'],
  401: ['WWW-Authenticate'],
  403: ['WWW-Authenticate?'],
  404: ['Vary?'],
  405: ['Allow'],
  408: ['Connection?'],
  410: ['Vary?'],
  415: ['Accept-Encoding?'],
  416: ['Content-Range'],
  429: ['Retry-After', 'Connection?'],
  503: ['Retry-After', 'Connection?'],
};

const PEER_HEADERS: readonly string[] = ['Varve-Node?', 'Varve-Database?'];

/** Many operations can end in the same ways: each such answer is described once, and they refer to it. */
function problemResponse(slugs: readonly Slug[], headers: readonly string[], { problems }: Shared): ZodOpenApiResponseObject {
  const key = [...slugs, ...headers].join(' ');
  const known = problems.get(key);
  if (known !== undefined) return known;
  const [first, ...rest] = slugs.map(problemSchema);
  const schema = rest.length === 0 ? first! : z.union([first!, ...rest] as [z.ZodType, z.ZodType, ...z.ZodType[]]);
  const response: ZodOpenApiResponseObject = {
    id: `problems-${problems.size + 1}`,
    description: slugs.map((slug) => `\`${slug}\`: ${KINDS[slug].title}`).join('. '),
    headers: z.object(headerObjects(headers)),
    content: { [PROBLEM_TYPE]: { schema } },
  };
  problems.set(key, response);
  return response;
}

/** A line's schema becomes a component, and the body refers to it: OpenAPI 3.1 has no word for a sequence. */
function contents(content: Readonly<Record<string, Content>>, shared: Shared) {
  return Object.fromEntries(
    Object.entries(content).map(([type, { schema, line, description, example }]) => {
      if (line === undefined) return [type, { schema: schema ?? z.string(), ...(example === undefined ? {} : { example }) }];
      const id = line.meta()?.id;
      if (id === undefined) throw new Error('assertion failed: the schema of a line has a name');
      shared.lines[id] = line;
      const text = {
        type: 'string',
        description: description ?? 'One JSON value a line.',
        'x-varve-line': { $ref: `#/components/schemas/${id}` },
      };
      return [type, { schema: z.string().meta({ override: text }), ...(example === undefined ? {} : { example }) }];
    }),
  ) as NonNullable<ZodOpenApiResponseObject['content']>;
}
