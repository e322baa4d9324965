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

/** An error that is one listener's own: the others are told, and the page hears of it as of an uncaught one. */
export const uncaught = (thrown: unknown): void =>
  queueMicrotask(() => {
    throw thrown;
  });

/** `over` is called at the end, before what runs is ended: whoever listens from then on makes another. */
export function shared<T>(initial: T, begin: Begin<T>, over: () => void = nothing): Shared<T> {
  const listeners = new Set<() => void>();
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
      // Walks the set itself, not a copy: a listener may remove another one, which must not be called any more.
      for (const tell of listeners)
        try {
          tell();
        } catch (thrown) {
          uncaught(thrown);
        }
    },
    subscribe(listener) {
      // A listener may be added twice, so each time it is another function.
      const tell = (): void => listener();
      listeners.add(tell);
      if (!end) start();
      return () => {
        listeners.delete(tell);
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
