/**
 * The description of the API as one HTML page, rendered from the OpenAPI document: no script, nothing from elsewhere.
 *
 * Invariant: every text is escaped where it is put into the page; only `html` makes markup.
 */

import { DOCS_STYLE } from './docs-style.js';
import type { OpenApiDocument } from './openapi.js';

/** What the page reads of the document: looser than OpenAPI, and enough. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly example?: unknown;
  readonly 'x-varve-line'?: Schema;
}
interface Content {
  readonly schema?: Schema;
  readonly example?: unknown;
}
interface Parameter {
  readonly $ref?: string;
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
}
interface Answer {
  readonly $ref?: string;
  readonly description: string;
  readonly headers?: Readonly<Record<string, { readonly required?: boolean; readonly schema?: Schema }>>;
  readonly content?: Readonly<Record<string, Content>>;
}
interface OperationObject {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly description: string; readonly content: Readonly<Record<string, Content>> };
  readonly responses: Readonly<Record<string, Answer>>;
  readonly 'x-varve-role': string;
}
interface Document {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly parameters?: Readonly<Record<string, Parameter>>;
    readonly responses?: Readonly<Record<string, Answer>>;
  };
}

class Html {
  constructor(readonly text: string) {}
}
type Part = string | number | Html | readonly Part[] | undefined;

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escaped(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(escaped).join('');
  return String(part).replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}

function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.reduce((text, string, index) => text + escaped(parts[index - 1]) + string));
}

/** Words with `code` in them. */
function prose(text = ''): Html {
  return html`${text.split('`').map((piece, index) => (index % 2 === 1 ? html`<code>${piece}</code>` : piece))}`;
}

export function docsPage(openapi: OpenApiDocument): string {
  const document = openapi as unknown as Document;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const groups = document.tags
    .map((tag) => ({ ...tag, operations: operations.filter(({ operation }) => operation.tags.includes(tag.name)) }))
    .filter((group) => group.operations.length > 0);
  const { title, version, description } = document.info;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} ${version}: HTTP API</title>
<style>${new Html(DOCS_STYLE)}</style>
</head>
<body>
<nav>
<a class="brand" href="#top"><span class="layers"><i></i><i></i><i></i></span>${title}<small>${version}</small></a>
${groups.map(
  (group) => html`<h2>${group.name}</h2>
<ul>${group.operations.map(
    ({ method, path, operation }) =>
      html`<li><a href="#${operation.operationId}" title="${method} ${path}"><b class="${method}">${method}</b>${operation.summary}</a></li>`,
  )}</ul>
`,
)}<h2>Schemas</h2>
<ul>${namedSchemas(document).map(([name]) => html`<li><a href="#schema-${name}">${name}</a></li>`)}</ul>
</nav>
<main id="top">
<header>
<h1>${title} <small>HTTP API</small></h1>
<p class="lead">An append-only immutable log database. <a href="/openapi.json">openapi.json</a></p>
${description.split('\n\n').map((paragraph) => html`<p>${prose(paragraph)}</p>`)}
</header>
${groups.map(
  (group) => html`<h2 class="group">${group.name}<small>${group.description}</small></h2>
${group.operations.map((each) => operationSection(document, each.method, each.path, each.operation))}`,
)}<h2 class="group">Schemas</h2>
${namedSchemas(document).map(([name, schema]) => schemaSection(name, schema))}
</main>
</body>
</html>
`;
  return page.text;
}

/** Problems are told with the answers they come in. */
function namedSchemas(document: Document): [string, Schema][] {
  return Object.entries(document.components.schemas).filter(([name]) => !name.startsWith('problem-'));
}

function operationSection(document: Document, method: string, path: string, operation: OperationObject): Html {
  const parameters = (operation.parameters ?? []).map((each) => resolveParameter(document, each));
  const role = operation['x-varve-role'];
  return html`<section id="${operation.operationId}">
<h3><a class="anchor" href="#${operation.operationId}">${operation.summary}</a><span class="role">${role === 'none' ? 'open' : `role ${role}`}</span></h3>
<p class="endpoint"><b class="${method}">${method}</b><code>${path.split(/(\{\w+\})/).map((part) => (part.startsWith('{') ? html`<var>${part}</var>` : part))}</code></p>
${operation.description === undefined ? undefined : html`<p>${prose(operation.description)}</p>`}
${parameters.length === 0 ? undefined : parameterTable(parameters)}
${operation.requestBody === undefined ? undefined : bodyPart(operation.requestBody)}
<pre class="curl"><code>${curl(method, path, parameters, operation)}</code></pre>
<h4>Answers</h4>
<div class="answers">${Object.entries(operation.responses).map(([status, answer]) => answerPart(document, status, resolveAnswer(document, answer)))}</div>
</section>
`;
}

function resolveParameter(document: Document, parameter: Parameter): Parameter {
  const name = parameter.$ref?.split('/').pop();
  return name === undefined ? parameter : (document.components.parameters?.[name] ?? parameter);
}

function resolveAnswer(document: Document, answer: Answer): Answer {
  const name = answer.$ref?.split('/').pop();
  return name === undefined ? answer : (document.components.responses?.[name] ?? answer);
}

function parameterTable(parameters: readonly Parameter[]): Html {
  return html`<table><tbody>${parameters.map(
    ({ name, in: place, required, description, schema }) => html`<tr>
<td class="name"><code>${name}</code><small>${place}${required === true ? ', required' : ''}</small></td>
<td>${prose(sentence(description ?? schema?.description))}<small>${schema === undefined ? undefined : typeOf(schema)}${
      schema?.default === undefined ? undefined : html` <span class="dim">default ${String(schema.default)}</span>`
    }</small></td></tr>`,
  )}</tbody></table>`;
}

function sentence(text = ''): string {
  return text === '' || /[.!?]$/.test(text) ? text : `${text}.`;
}

function bodyPart(body: NonNullable<OperationObject['requestBody']>): Html {
  return html`<h4>Body</h4><p>${prose(body.description)} ${Object.entries(body.content).map(([type, content]) => contentPart(type, content))}</p>`;
}

function contentPart(type: string, { schema }: Content): Html {
  const line = schema?.['x-varve-line'];
  return html`<span class="content"><code>${type}</code> ${line === undefined ? (schema === undefined ? undefined : typeOf(schema)) : html`lines of ${typeOf(line)}`}</span>`;
}

function answerPart(document: Document, status: string, answer: Answer): Html {
  const problems = Object.entries(answer.content ?? {}).filter(([type]) => type === 'application/problem+json');
  const headers = Object.keys(answer.headers ?? {}).filter((name) => name !== 'Varve-Request-Id');
  const example = Object.values(answer.content ?? {}).find((content) => content.example !== undefined)?.example;
  const what =
    problems.length > 0
      ? html`<ul class="problems">${problemNames(problems[0]![1].schema).map((name) => problemItem(document, name))}</ul>`
      : html`${prose(answer.description)} ${Object.entries(answer.content ?? {}).map(([type, content]) => contentPart(type, content))}${
          example === undefined
            ? undefined
            : html`<pre><code>${typeof example === 'string' ? example : JSON.stringify(example, undefined, 2)}</code></pre>`
        }`;
  return html`<div class="answer"><b class="status s${status[0]}">${status}</b><div>${what}${
    headers.length === 0 ? undefined : html`<p class="headers">${headers.map((name) => html`<code>${name}</code>`)}</p>`
  }</div></div>`;
}

function problemNames(schema: Schema | undefined): string[] {
  const refs = schema?.anyOf ?? (schema === undefined ? [] : [schema]);
  return refs.flatMap(({ $ref }) => ($ref === undefined ? [] : [$ref.split('/').pop()!]));
}

function problemItem(document: Document, name: string): Html {
  const { properties = {} } = document.components.schemas[name] ?? {};
  const own = Object.keys(properties).filter((field) => !['type', 'title', 'status', 'detail', 'requestId'].includes(field));
  return html`<li><code>${name.replace('problem-', '')}</code> ${String(properties['title']?.const ?? '')}${
    own.length === 0 ? undefined : html` <span class="dim">with ${own.join(', ')}</span>`
  }</li>`;
}

function schemaSection(name: string, schema: Schema): Html {
  const variants = schema.properties === undefined ? (schema.anyOf ?? []) : [schema];
  return html`<section id="schema-${name}"><h3><a class="anchor" href="#schema-${name}">${name}</a></h3>
${schema.description === undefined ? undefined : html`<p>${prose(schema.description)}</p>`}
${variants.map((variant) =>
  variant.properties === undefined
    ? html`<p>${typeOf(variant)}</p>`
    : html`<table><tbody>${Object.entries(variant.properties).map(
        ([
          field,
          type,
        ]) => html`<tr><td class="name"><code>${field}</code><small>${variant.required?.includes(field) === true ? '' : 'optional'}</small></td>
<td>${prose(sentence(type.description))}<small>${typeOf(type)}</small></td></tr>`,
      )}</tbody></table>`,
)}${variants.length === 0 ? html`<p>${typeOf(schema)}</p>` : undefined}</section>
`;
}

function typeOf(schema: Schema): Html {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split('/').pop()!;
    return html`<a class="type" href="#schema-${name}">${name}</a>`;
  }
  if (schema.anyOf !== undefined) return html`${schema.anyOf.map((one, index) => (index === 0 ? typeOf(one) : html` or ${typeOf(one)}`))}`;
  if (schema.const !== undefined) return html`<span class="type">${JSON.stringify(schema.const)}</span>`;
  if (schema.enum !== undefined) return html`<span class="type">${schema.enum.map((value) => JSON.stringify(value)).join(' | ')}</span>`;
  if (schema.items !== undefined) return html`<span class="type">array of </span>${typeOf(schema.items)}`;
  const range = schema.minimum === undefined || schema.maximum === undefined ? '' : ` ${schema.minimum}…${schema.maximum}`;
  const type = schema.type === undefined ? 'any JSON' : [schema.type].flat().join(' or ');
  return html`<span class="type">${type}${range}</span>`;
}

function curl(method: string, path: string, parameters: readonly Parameter[], operation: OperationObject): string {
  const target = path.replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
    const parameter = parameters.find((each) => each.name === name);
    return String(parameter?.schema?.example ?? whole);
  });
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const lines = [
    `curl ${method === 'GET' ? '' : `-X ${method} `}http://127.0.0.1:7411${target}`,
    ...(operation['x-varve-role'] === 'none' ? [] : ['-H "Authorization: Bearer $VARVE_TOKEN"']),
    ...(type === undefined ? [] : [`-H 'Content-Type: ${type}'`, `-d '${JSON.stringify(content?.example)}'`]),
  ];
  return lines.join(' \\\n  ');
}
