/**
 * The listeners of a tide's events. If one throws, the error is reported as uncaught, and the others are still called.
 */
import { callback, refused } from "../../topic/check.ts";
import type { TideEvent } from "../api.ts";
import { report } from "../platform/errors.ts";

type Listener = (event: TideEvent) => void;

const TYPES: Readonly<Record<TideEvent["type"], true>> = {
  recovery: true,
  quota: true,
  reopened: true,
  settings: true,
  deleted: true,
  leaderchange: true,
  leaderlost: true,
  loadfailed: true,
  sync: true,
  version: true,
  closed: true,
};

export class Listeners {
  readonly #all = new Set<{ readonly type: string | undefined; readonly listener: Listener }>();

  /** `args` are those of `on()`: a listener, or a type of events and a listener. Returns a function that removes it. */
  add(args: readonly unknown[]): () => void {
    const [type, listener] = args.length > 1 ? args : [undefined, args[0]];
    if (type !== undefined && !(typeof type === "string" && Object.hasOwn(TYPES, type)))
      throw refused("the type of on(type, listener)", type, `one of ${Object.keys(TYPES).join(", ")}`);
    callback("the listener of on()", listener);
    const entry = { type, listener: listener as Listener };
    this.#all.add(entry);
    return () => void this.#all.delete(entry);
  }

  tell(event: TideEvent): void {
    for (const { type, listener } of [...this.#all]) {
      try {
        if (type === undefined || type === event.type) listener(event);
      } catch (thrown) {
        report(thrown);
      }
    }
  }
}
