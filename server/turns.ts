/**
 * The end of a turn of the event loop: what many requests of one turn are better off doing together waits for it. A turn reads from every
 * socket that has something; inserts that begin when all have been read go to the disk as one group, where the first of them would
 * otherwise be on its way there, or even hold this thread until it is there, before the second one has been read.
 */
let end: Promise<void> | undefined;

/** Resolves, for all who ask in one turn, when every socket that had something has been read. */
export function endOfTurn(): Promise<void> {
  end ??= new Promise((resolve) => {
    setImmediate(() => {
      end = undefined;
      resolve();
    });
  });
  return end;
}
