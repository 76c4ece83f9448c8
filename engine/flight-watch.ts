/**
 * Whether anybody makes use of the time a group is on its way to the disk: whoever inserts meanwhile gathers the next group. Where
 * nobody does (one client, or many that all wait for this group), this thread may as well wait for the disk itself, which is sooner.
 *
 *   flights of others' time, QUIET_FLIGHTS in a row without an insert -> quiet: blocked, but for one in PROBE_EVERY
 *   an insert during a flight -> not quiet
 *
 * Counts alone, no clock: the same inserts in the same turns give the same answers.
 */
const QUIET_FLIGHTS = 4;
const PROBE_EVERY = 32;

export class FlightWatch {
  #unused = 0;
  #untilProbe = PROBE_EVERY;

  /** Whether the last flights went unused. */
  get isQuiet(): boolean {
    return this.#unused >= QUIET_FLIGHTS;
  }

  /** Asked once a group. */
  mayBlock(): boolean {
    if (!this.isQuiet) return false;
    if (--this.#untilProbe > 0) return true;
    this.#untilProbe = PROBE_EVERY;
    return false;
  }

  /** A flight that did not block is over; `used`: somebody inserted meanwhile. */
  landed(used: boolean): void {
    this.#unused = used ? 0 : this.#unused + 1;
  }
}
