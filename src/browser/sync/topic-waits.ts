/**
 * The waits of all tabs for their topics: `drained()` and `caughtUp()`. waits.ts says when one is over by what it waits
 * for. It also ends when a topic needs a person's answer, is left, or the tide is opened anew.
 *
 *   begin ─▶ looked at now, and whenever something has changed ─▶ resolved, or rejected with why
 */
import type { PauseWhy } from "../../sync/link-state.ts";
import type { Session } from "../../sync/session.ts";
import { endOf, leftTopic, reopened } from "./sync-status.ts";
import { drainedNow, levelSince, type Look } from "./waits.ts";

export interface WaitHost {
  /** Why the link is paused. "forbidden": the token is another tenant's. "version": the edge speaks another one. */
  pauseWhy(): PauseWhy | undefined;
  /** The tide is opened anew, and its sessions are over. */
  isClosed(): boolean;
  /** False once the topic of this session was left. */
  has(session: Session): boolean;
  /** Something has changed that a wait may be for. */
  changed(): void;
}

export class TopicWaits {
  readonly #host: WaitHost;
  /** Each returns true once what it waits for has happened, and is then removed. */
  readonly #waiting = new Set<Look>();

  constructor(host: WaitHost) {
    this.#host = host;
  }

  /** Counts as of this call: what is appended later, here or elsewhere, is not waited for. `signal` gives it up. */
  begin(
    until: "drained" | "level",
    topics: readonly (readonly [name: string, session: Session])[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const host = this.#host;
    const waits = topics.map(([name, session]) => {
      const isDone = until === "drained" ? drainedNow(session) : levelSince(session, () => host.changed());
      return { name, session, isDone };
    });
    return new Promise((resolve, reject) => {
      const look = (): boolean => {
        const left = waits.filter(({ isDone }) => !isDone());
        const why = host.pauseWhy();
        // Nothing goes on before somebody has answered, has signed in as one who may, or has loaded another version.
        const over = left.find(
          ({ session: { state, isRefused } }) =>
            state.at === "blocked" ||
            state.at === "stopped" ||
            (isRefused && state.at === "retrying") ||
            why === "forbidden" ||
            why === "version",
        );
        const gone = left.find(({ session }) => !host.has(session));
        if (left.length === 0) resolve();
        else if (host.isClosed()) reject(reopened());
        else if (over) reject(endOf(over.name, over.session, why));
        else if (gone) reject(leftTopic(gone.name));
        else return false;
        return true;
      };
      // Nobody hears the answer to what was given up.
      if (signal?.aborted) return resolve();
      if (look()) return;
      this.#waiting.add(look);
      signal?.addEventListener("abort", () => this.#waiting.delete(look) && resolve());
    });
  }

  look(): void {
    for (const look of [...this.#waiting]) if (look()) this.#waiting.delete(look);
  }
}
