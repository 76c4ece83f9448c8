/**
 * The request listener behind the doors: the hot path, then Express with every route of routes/table.ts. Express only matches paths here; handlers
 * work on node's own request and response.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import express from 'express';
import { answerError, dispatch } from './dispatch.js';
import type { ServerContext } from './exchange.js';
import { matchHot } from './hot-path.js';
import { invalid, Problem } from './problem.js';
import { pathOf } from './request-log.js';
import { ROUTES } from './routes/table.js';

/** These answer in every phase. */
const ALWAYS: ReadonlySet<string> = new Set(['/livez', '/readyz']);

export function createApp(context: ServerContext): RequestListener {
  const app = express();
  app.disable('x-powered-by').disable('etag').disable('query parser');
  app.enable('strict routing').enable('case sensitive routing');
  for (const route of ROUTES) {
    app.all(route.path, (req, res) => dispatch(route, req, res, req.params as Record<string, string>, context));
  }
  app.use((req: IncomingMessage, res: ServerResponse) => {
    answerError(new Problem('not-found', 'There is nothing at this path.'), req, res);
  });
  app.use((error: unknown, req: IncomingMessage, res: ServerResponse, _next: express.NextFunction) => {
    // The router's own failure: a path parameter whose percent-encoding is not UTF-8.
    const problem =
      error instanceof URIError || isBadParam(error)
        ? invalid('path', 'percent-encoded UTF-8', 'the path has a broken percent-encoding')
        : error;
    answerError(problem, req, res);
  });

  return (req, res) => {
    try {
      if (context.phase === 'draining' && !ALWAYS.has(pathOf(req))) {
        throw new Problem('draining', 'The server is shutting down.', {}, { headers: { Connection: 'close' } });
      }
    } catch (error) {
      return answerError(error, req, res);
    }
    const hot = matchHot(req.url ?? '');
    if (hot === undefined) app(req, res);
    else dispatch(hot.route, req, res, hot.params, context);
  };
}

function isBadParam(error: unknown): boolean {
  return error instanceof Error && 'status' in error && error.status === 400;
}
