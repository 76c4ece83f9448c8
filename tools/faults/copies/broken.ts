/** A promise that was not kept: ends the run with exit code 1. Anything else that is thrown ends it too, as trouble of the rig or of a node. */
export class BrokenPromise extends Error {}

export function mustBe(isSo: boolean, what: () => string): void {
  if (!isSo) throw new BrokenPromise(what());
}
