/**
 * Bugs planted against what the hard cases of docs/sync.md ask for, and against rules that only a written history
 * (histories.ts, hard-cases.ts) shows to be needed. Each is found in the history that it names.
 */
import type { SyncMutant } from "./mutants.ts";

const REGISTRY = "worker/stream/outboxes.ts";
const RULES = "src/sync/rules.ts";

export const HARD_MUTANTS: readonly SyncMutant[] = [
  {
    name: "the chain is left out",
    file: REGISTRY,
    find: "push.at === known.next && push.previous === known.lastCrc",
    replace: "push.at === known.next",
    found: /^(lost|invisible)/,
    history: "H10a: pushes of two copies that meet",
    isQuick: true,
  },
  {
    name: "identity without its checksum",
    file: "src/sync/own-batches.ts",
    find: "const isSame = own.header!.crc === crc;",
    replace: "const isSame = true;",
    found: /^(lost|invisible)/,
    history: "H10: two copies of a machine that runs",
    isQuick: true,
  },
  {
    name: "a follow begins where frames were received, not where they were stored",
    file: "src/sync/receiver.ts",
    find: "let from = store.watermark;",
    replace: `
      const known = store as { received?: number };
      const receive = store.receive;
      store.receive = (frame) => {
        known.received = Math.max(known.received ?? 0, frame.nextOffset);
        return receive.call(store, frame);
      };
      let from = Math.max(store.watermark, known.received ?? 0);`,
    found: /^liveness/,
    history: "H29: a full device that follows",
  },
  {
    name: "a session that meets a failed store tells nobody",
    file: "src/sync/session.ts",
    find: 'if (error.details["poisoned"] || error.code === "STORAGE_FAILED") this.#options.failed(error);',
    replace: "",
    found: /^liveness/,
    history: "H29: a write is refused, and all that come for a while",
    isQuick: true,
  },
  {
    name: "a batch that does not go on where the copy ends is asked for again and again",
    file: "src/sync/session.ts",
    find: 'if (code === "DIVERGED") return this.#step(',
    replace: 'if (code === "") return this.#step(',
    found: /^liveness/,
    history: "nothing to compare",
    isQuick: true,
  },
  {
    name: "set aside before its record is durable",
    file: "src/sync/set-aside.ts",
    find: "return work;",
    replace: "return Promise.resolve();",
    found: /^aside/,
    history: "set aside, and the power goes",
  },
  {
    name: "behind each token that is refused the next one is asked for at once",
    file: "src/sync/link-state.ts",
    find: 'return refused === undefined ? ask(tries, "refused", token)',
    replace: 'return tries >= 0 ? ask(tries, "refused", token)',
    found: /^storm/,
    history: "H23: each token is refused",
  },
  {
    name: "the back-off begins anew when a socket opens",
    file: "src/sync/link-state.ts",
    find: 'if (event.on === "open") return { state: { at: "live", tries, token,',
    replace: 'if (event.on === "open") return { state: { at: "live", tries: 0, token,',
    found: /^storm/,
    history: "H22: an edge that ends each connection",
  },
  {
    name: "over HTTP a token of another owner goes on with what had joined before",
    file: "src/sync/http-wire.ts",
    find: "if (!isSameOwner(this.#token, token)) for (const each of",
    replace: "if (token.length < 0) for (const each of",
    found: /^leak/,
    history: "H23: a token of another owner over HTTP",
  },
  {
    name: "a channel that has ended is taken for a log that may not be read",
    file: "src/sync/session.ts",
    // And nobody hears of that end: each of the two would do by itself.
    find: `this.#failed(talk, await talk.log.ended);
  }

  /**
   * Notes whether this error says that the token may not read. If it does the session goes on without a follow, except
   * in a claim, which must read. The error of a channel that has ended does not say it: over HTTP a channel ends when
   * the token may be another owner's.
   */
  #turnsBlind(talk: Conversation, error: TidemarkError): boolean {
    const isRefused = edgeCodeOf(error) === "FORBIDDEN" && !talk.isOver && !talk.log.isOver;`,
    replace: `}

  /**
   * Notes whether this error says that the token may not read. If it does the session goes on without a follow, except
   * in a claim, which must read. The error of a channel that has ended does not say it: over HTTP a channel ends when
   * the token may be another owner's.
   */
  #turnsBlind(talk: Conversation, error: TidemarkError): boolean {
    const isRefused = edgeCodeOf(error) === "FORBIDDEN" && !talk.isOver;`,
    found: /^liveness/,
    history: "H23: a token of another owner over HTTP while nothing waits",
    isQuick: true,
  },
  {
    name: "a join that finds what the one before a lost connection found is taken for a loop",
    file: "src/sync/session.ts",
    find: "if (isSettled(this.#state, this.#options.host.monotonic())) this.#lastJoin = undefined;",
    replace: "",
    found: /^trips/,
    history: "back without news",
    isQuick: true,
  },
  // Copies.
  {
    name: "an edge that took more than is here says nothing of a copy",
    file: RULES,
    find: "if (next > held.end) return true;",
    replace: "if (next > held.end) return false;",
    found: /^lost/,
    history: "H6: a profile is put back, and writes less than it had pushed",
  },
  {
    name: "the checksum at the edge's next is not compared",
    file: RULES,
    find: "if (next > held.start) return held.lastAtNext !== last;",
    replace: "if (next > held.start) return false;",
    found: /^lost/,
    history: "H7: a profile is put back, and writes more than it had pushed",
  },
  {
    name: "an id that was not registered is new to an edge that has forgotten",
    file: REGISTRY,
    find: "if (registered || this.#forgotten.at > 0)",
    replace: "if (registered)",
    found: /^twice/,
    history: "H12a: three copies of an id that was not registered",
  },
  {
    name: "what is missing at the edge was never taken",
    file: "src/sync/settling.ts",
    find: "if (Math.min(to, readTo) > Math.max(from, lower)) return true;",
    replace: "if (Math.min(to, readTo) > Math.max(from, lower)) return false;",
    found: /^(twice|doubt)/,
    history: "H12b: a profile that is copied while it runs",
  },
  {
    name: "a claim raises the claimer's own generation",
    file: REGISTRY,
    find: "Math.max(own, known?.generation ?? this.#forgotten.generation) + 1;",
    replace: "own + 1;",
    found: /^(standing|liveness|generation)/,
    history: "H12c: the edge forgets five generations",
  },
];
