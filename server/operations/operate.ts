/** The description of what watches and explains the server. */
import { z } from 'zod';
import { JSON_TYPE } from '../answers.js';
import { liveAnswer, noQuery, pointerAnswer, readyAnswer, readyQuery } from '../schemas.js';
import type { Descriptions } from './operation.js';

const page = { 'text/html; charset=utf-8': { schema: z.string().meta({ description: 'HTML.' }) } };

export const operateDescriptions: Descriptions = {
  'GET /': {
    id: 'getPointer',
    tag: 'Operate',
    summary: 'Where to find things',
    query: noQuery,
    answers: { 200: { description: 'Paths to begin with.', content: { [JSON_TYPE]: { schema: pointerAnswer } } } },
    problems: [],
  },
  'GET /livez': {
    id: 'getLiveness',
    tag: 'Operate',
    summary: 'Whether the process answers',
    query: noQuery,
    answers: { 200: { description: 'It does.', content: { [JSON_TYPE]: { schema: liveAnswer, example: { status: 'alive' } } } } },
    problems: [],
  },
  'GET /readyz': {
    id: 'getReadiness',
    tag: 'Operate',
    summary: 'Whether it takes work',
    text: '503 with reasons while it is recovering, draining, or takes no writes. `verbose` lists every check.',
    query: readyQuery,
    answers: { 200: { description: 'It does.', content: { [JSON_TYPE]: { schema: readyAnswer, example: { status: 'ready' } } } } },
    problems: ['recovering', 'draining', 'read-only'],
  },
  'GET /metrics': {
    id: 'getMetrics',
    tag: 'Operate',
    summary: 'Figures for Prometheus',
    query: noQuery,
    answers: {
      200: {
        description: 'The text format of Prometheus.',
        content: { 'text/plain; version=0.0.4; charset=utf-8': { schema: z.string(), example: 'varve_ready 1\n' } },
      },
    },
    problems: [],
  },
  'GET /openapi.json': {
    id: 'getOpenApi',
    tag: 'Operate',
    summary: 'This description',
    query: noQuery,
    answers: { 200: { description: 'OpenAPI 3.1.', content: { [JSON_TYPE]: { schema: z.looseObject({ openapi: z.literal('3.1.0') }) } } } },
    problems: [],
  },
  'GET /docs': {
    id: 'getDocs',
    tag: 'Operate',
    summary: 'This description, for people',
    query: noQuery,
    answers: { 200: { description: 'One page, which loads nothing from elsewhere.', content: page, headers: ['Content-Security-Policy'] } },
    problems: [],
  },
};
