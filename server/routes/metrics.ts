/** The figures, for whoever may read everything. */
import { send } from '../answers.js';
import { type Exchange, parseQuery, type Route } from '../exchange.js';
import { METRICS_TYPE } from '../metrics.js';
import { noQuery } from '../schemas.js';

async function metrics(exchange: Exchange): Promise<void> {
  parseQuery(noQuery, exchange);
  send(exchange.res, 200, { 'Content-Type': METRICS_TYPE }, await exchange.context.metrics.text());
}

export const metricsRoutes: readonly Route[] = [{ path: '/metrics', endpoints: { GET: { role: 'read', handle: metrics } } }];
