/** Who waits for something new to become visible: each is woken once, in the order they came, by the commit that brings it. */
export class Watchers {
  #waiting = new Set<() => void>();

  /** Returns how to wait no longer. */
  once(wake: () => void): () => void {
    this.#waiting.add(wake);
    return () => this.#waiting.delete(wake);
  }

  wake(): void {
    if (this.#waiting.size === 0) return;
    const woken = this.#waiting;
    this.#waiting = new Set();
    for (const wake of woken) wake();
  }
}
