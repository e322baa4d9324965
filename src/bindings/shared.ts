/**
 * A value that is followed only while somebody listens, however many do.
 *
 *   first listener ─▶ begin(set) ── set(next) ─▶ every listener ── the last one left, end of the turn ─▶ end()
 *
 * A framework that unmounts a component and mounts it again in one turn (React's StrictMode, a changed key) ends
 * nothing. Values are never changed in place: another object means another value.
 */

/** What a framework binds to. `subscribe` fits useSyncExternalStore; `current` may be asked for without it. */
export interface Source<T> {
  readonly current: T;
  subscribe(listener: () => void): () => void;
}

export interface Shared<T> extends Source<T> {
  current: T;
  set(next: T): void;
  /** Ends what runs and begins anew, from this value. */
  restart(current: T): void;
}

/** Starts what makes the values. What it gives back ends that. */
export type Begin<T> = (set: (next: T) => void) => () => void;

/** Whether a value of a caller without types has this method. */
export const has = (value: unknown, method: string): boolean =>
  typeof (Object(value) as Readonly<Record<string, unknown>>)[method] === "function";

export const nothing = (): void => undefined;

/** `over` is called at the end, before what runs is ended: whoever listens from then on makes another. */
export function shared<T>(initial: T, begin: Begin<T>, over: () => void = nothing): Shared<T> {
  // A listener may be added twice, so each has an object of its own.
  const listeners = new Set<{ readonly listener: () => void }>();
  let end: (() => void) | undefined;
  const start = (): void => {
    let isOver = false;
    const stop = begin((next) => isOver || self.set(next));
    end = () => {
      isOver = true;
      end = undefined;
      stop();
    };
  };
  const endIfLeft = (): void => {
    if (listeners.size > 0 || !end) return;
    over();
    end();
  };
  const self: Shared<T> = {
    current: initial,
    set(next) {
      if (Object.is(next, self.current)) return;
      self.current = next;
      for (const { listener } of [...listeners]) listener();
    },
    subscribe(listener) {
      const entry = { listener };
      listeners.add(entry);
      if (!end) start();
      return () => {
        listeners.delete(entry);
        queueMicrotask(endIfLeft);
      };
    },
    restart(current) {
      if (!end) return;
      end();
      self.set(current);
      start();
    },
  };
  return self;
}

/** How a component picks what it shows. It gives the last result again where `equals` says that nothing changed. */
export function selecting<T, R>(
  select: (value: T) => R,
  equals: (a: R, b: R) => boolean = Object.is,
  before?: { readonly result: R },
): (value: T) => R {
  let last = before;
  let of: { readonly value: T } | undefined;
  return (value) => {
    if (!last || !of || !Object.is(of.value, value)) {
      of = { value };
      const result = select(value);
      if (!last || !equals(last.result, result)) last = { result };
    }
    return last.result;
  };
}
