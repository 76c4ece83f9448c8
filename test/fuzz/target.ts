/** What a fuzzer is: something that can be thrown at one decoder for as long as there is time. */
import fc from 'fast-check';

export interface Session {
  /** Fails where anything but a value or a typed error comes of an input. */
  readonly property: fc.IAsyncProperty<never> | fc.IProperty<never>;
  close(): Promise<void>;
}

export interface Target {
  readonly name: string;
  readonly about: string;
  open(): Promise<Session>;
}

/** A target without anything to set up. */
export function pure<T>(name: string, about: string, inputs: fc.Arbitrary<T>, check: (input: T) => void): Target {
  return {
    name,
    about,
    open: async () => ({
      property: fc.property(inputs, (input) => void check(input)) as unknown as Session['property'],
      close: async () => {},
    }),
  };
}

export interface Outcome {
  readonly runs: number;
  /** Undefined: nothing was found. */
  readonly failure: string | undefined;
}

/** Runs until the time is up or something is found, which is then shrunk. The same seed makes the same inputs. */
export async function fuzz(target: Target, milliseconds: number, seed: number): Promise<Outcome> {
  const session = await target.open();
  // What escapes a callback never reaches the property.
  const escaped: unknown[] = [];
  const onEscaped = (error: unknown) => escaped.push(error);
  process.on('uncaughtException', onEscaped).on('unhandledRejection', onEscaped);
  try {
    const found = await fc.check(session.property as fc.IAsyncProperty<never>, {
      seed,
      numRuns: 100_000_000,
      interruptAfterTimeLimit: milliseconds,
    });
    const failure =
      found.failed && !found.interrupted
        ? `${fc.defaultReportMessage(found) ?? 'failed'}\n${String((found.errorInstance as Error | undefined)?.stack)}`
        : undefined;
    const outside =
      escaped.length === 0 ? undefined : `escaped: ${escaped.map((error) => (error as Error)?.stack ?? String(error)).join('\n')}`;
    return { runs: found.numRuns, failure: failure ?? outside };
  } finally {
    process.off('uncaughtException', onEscaped).off('unhandledRejection', onEscaped);
    await session.close();
  }
}
