/**
 * Runs a call again and again, and each time ends it one turn of promises later: an end that comes between two awaits
 * finds what waits there for nobody. Whoever uses it says what may be left.
 */
import { TidemarkError } from "../../src/errors.ts";

/** A turn in which all promises that can go on have done so. */
export const settledTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How a call ended: "done", the code of its error, the message of any other, or "pending". */
export type Outcome = string;

export const outcomeOf = (thrown: unknown): Outcome =>
  thrown instanceof TidemarkError ? thrown.code : String((thrown as Partial<Error> | null)?.message ?? thrown);

/** Counts the listeners of its signal, as a signal has them that its owner keeps for long. */
export class KeptSignal {
  readonly #controller = new AbortController();
  readonly #heard = new Map<unknown, () => void>();
  readonly signal = this.#controller.signal;

  constructor() {
    const { signal } = this;
    const add = signal.addEventListener.bind(signal) as EventTarget["addEventListener"];
    const remove = signal.removeEventListener.bind(signal) as EventTarget["removeEventListener"];
    signal.addEventListener = (type: string, listener: EventListener, options?: AddEventListenerOptions) => {
      add(type, listener, options);
      if (options?.signal?.aborted) return;
      const free = (): void => void this.#heard.delete(listener);
      this.#heard.set(listener, free);
      options?.signal?.addEventListener("abort", free);
    };
    signal.removeEventListener = (type: string, listener: EventListener) => {
      remove(type, listener);
      this.#heard.delete(listener);
    };
  }
  get listeners(): number {
    return this.#heard.size;
  }
  abort(reason: unknown = new Error("aborted")): void {
    this.#controller.abort(reason);
  }
}

export interface Trial {
  readonly call: Promise<unknown>;
  /** Ends the call, or what it belongs to. Its promises must settle, too. */
  end(): unknown;
  /** What is wrong afterwards: each text is reported with its turn. */
  left(outcome: Outcome): readonly string[] | Promise<readonly string[]>;
  /** Called while a promise is pending though nothing else goes on: timers that are not real. */
  later?(): unknown;
}

export interface Trials {
  /** How often each outcome came. */
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** What was wrong, and in which turn. */
  readonly wrong: readonly string[];
}

/** Turns of the event loop until a promise that nothing moves any more counts as pending. */
const PATIENCE = 12;

async function settled(work: Promise<unknown>, later?: () => unknown): Promise<Outcome> {
  let outcome: Outcome | undefined;
  work.then(
    () => (outcome = "done"),
    (thrown: unknown) => (outcome = outcomeOf(thrown)),
  );
  for (let turn = 0; outcome === undefined && turn < PATIENCE; turn++) {
    await settledTurn();
    if (outcome === undefined) await later?.();
  }
  return outcome ?? "pending";
}

/** `begin` makes a world of its own for each turn. It stops once a call was over before its end came. */
export async function inEveryTurn(begin: () => Trial | Promise<Trial>, turnsMax = 400): Promise<Trials> {
  const outcomes: Record<Outcome, number> = {};
  const wrong: string[] = [];
  const unhandled: unknown[] = [];
  const hear = (thrown: unknown): void => void unhandled.push(thrown);
  process.on("unhandledRejection", hear);
  try {
    for (let turns = 0, over = 0; turns < turnsMax && over < 3; turns++) {
      const { call, end, left, later } = await begin();
      let isOver = false;
      const done = (): void => void (isOver = true);
      call.then(done, done);
      for (let turn = 0; turn < turns; turn++) await null;
      if (isOver) over++;
      const ended = (async () => end())();
      const how = await settled(call, later);
      outcomes[how] = (outcomes[how] ?? 0) + 1;
      const end_ = await settled(ended, later);
      const found = [
        ...(how === "pending" ? ["the call is pending"] : []),
        ...(end_ === "done" ? [] : [`its end is ${end_}`]),
        ...(await left(how)),
        ...unhandled.splice(0).map((thrown) => `unhandled: ${String((thrown as Error)?.stack ?? thrown)}`),
      ];
      for (const each of found) wrong.push(`${turns}: ${each}`);
    }
  } finally {
    process.off("unhandledRejection", hear);
  }
  return { outcomes, wrong };
}
