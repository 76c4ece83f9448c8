/** Waits between attempts: exponential, with jitter, on the platform's randomness. A crash resets it. */
export interface BackoffOptions {
  /** Of the first wait. Default 100. */
  readonly firstMs?: number;
  /** Default 10,000. */
  readonly mostMs?: number;
}

export class Backoff {
  readonly #randomBytes: (size: number) => Uint8Array;
  readonly #firstMs: number;
  readonly #mostMs: number;
  #attempts = 0;

  constructor(randomBytes: (size: number) => Uint8Array, { firstMs = 100, mostMs = 10_000 }: BackoffOptions = {}) {
    this.#randomBytes = randomBytes;
    this.#firstMs = firstMs;
    this.#mostMs = mostMs;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** Milliseconds to wait now: between half of what is due and all of it. */
  next(): number {
    const due = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(this.#attempts++, 20));
    const [low = 0, high = 0] = this.#randomBytes(2);
    return due / 2 + (due / 2) * ((low + high * 256) / 65_536);
  }

  reset(): void {
    this.#attempts = 0;
  }
}
