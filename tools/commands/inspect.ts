import type { AddCommand } from '../command.js';
export const addInspect: AddCommand = () => {};
