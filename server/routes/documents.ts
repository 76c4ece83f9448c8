/**
 * The server's own description: /openapi.json for programs, /docs for people. Both are made once, from the table of operations.
 */
import { JSON_TYPE, send } from '../answers.js';
import { docsPage } from '../docs-page.js';
import { type Exchange, parseQuery, type Route } from '../exchange.js';
import { describeApi, type OpenApiDocument } from '../openapi.js';
import { noQuery } from '../schemas.js';
import { VERSION } from '../version.js';
import type { Operation } from './table.js';

/** Nothing from anywhere: the page carries its style, and has no script. */
const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** `operations` is asked when a request comes: these routes are in that table themselves. */
export function documentRoutes(operations: () => readonly Operation[]): readonly Route[] {
  let made: { document: OpenApiDocument; json: string; page: string } | undefined;
  const documents = () => {
    if (made === undefined) {
      const document = describeApi(operations(), VERSION);
      made = { document, json: JSON.stringify(document), page: docsPage(document) };
    }
    return made;
  };
  const openapi = (exchange: Exchange): void => {
    parseQuery(noQuery, exchange);
    send(exchange.res, 200, { 'Content-Type': JSON_TYPE }, documents().json);
  };
  const docs = (exchange: Exchange): void => {
    parseQuery(noQuery, exchange);
    const headers = { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': PAGE_POLICY };
    send(exchange.res, 200, headers, documents().page);
  };
  return [
    { path: '/openapi.json', endpoints: { GET: { role: 'none', handle: openapi } } },
    { path: '/docs', endpoints: { GET: { role: 'none', handle: docs } } },
  ];
}
