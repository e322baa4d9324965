/** Bugs planted in what several topics of one link share, and in the windows of its follows. */
import type { SyncMutant } from "./mutants.ts";

const LINK = "src/sync/link.ts";
const SESSION = "src/sync/session.ts";
const SOCKET = "src/sync/edge-socket.ts";

export const TOPIC_MUTANTS: readonly SyncMutant[] = [
  // Windows.
  {
    name: "a window has parts of bytes, which credits have not",
    file: "src/sync/window-budget.ts",
    find: "isLevel ? 0 : Math.ceil(mean * Math.max(0, (this.#edgeEnd() ?? Infinity) - nextOffset));",
    replace: "isLevel ? 0 : mean * Math.max(0, (this.#edgeEnd() ?? Infinity) - nextOffset);",
    found: /^liveness/,
    plan: "wide",
    from: 734_080,
  },
  {
    name: "a follow gets one byte less than its next batch needs",
    file: "src/sync/follow-window.ts",
    find: "needed - this.#bytes);",
    replace: "needed - this.#bytes - 1);",
    found: /^liveness/,
    plan: "wide",
    from: 734_035,
    isQuick: true,
  },
  {
    name: "a life is told on a follow that was cancelled, and not again on the next one",
    file: "worker/log-object/sockets.ts",
    find: 'if (session.sync) session.sync = { ...session.sync, life: "" };',
    replace: "",
    found: /^liveness.*DIVERGED/,
    plan: "wide",
    from: 735_298,
    isQuick: true,
  },
  {
    name: "a follow that starved has its credits, and the edge does not go on",
    file: "worker/log-object/sockets.ts",
    find: "follow.starved = false;",
    replace: "",
    found: /^liveness/,
    plan: "wide",
    from: 734_005,
  },
  {
    name: "only the first topic gets the socket",
    file: LINK,
    find: "for (const session of this.#options.sessions) session.attach(socket);",
    replace: "for (const session of [...this.#options.sessions].slice(0, 1)) session.attach(socket);",
    found: /^liveness/,
    history: "a topic that is blocked, beside others",
  },
  {
    name: "a topic that leaves its channel ends the socket of all",
    file: SESSION,
    find: "talk.log.close(); this.#changed.set();",
    replace: "talk.log.socket.close(); this.#changed.set();",
    found: /^(storm|liveness)/,
    history: "a topic that is left, beside others",
    isQuick: true,
  },
  {
    name: "an answer wakes a session that has ended",
    file: "src/sync/session-state.ts",
    find: 'if (at === "waiting") return event.on === "linked"',
    replace: 'if (at === "waiting") return event.on === "linked" || event.on === "unblocked"',
    found: /^a session that has ended is/,
    history: "an answer to a topic that is left",
  },
  {
    name: "the error of one log ends all channels",
    file: SOCKET,
    find: "if (frame.id === 0 && frame.type === FrameType.ERROR) return this.end(errorOf(frame));",
    replace: `
      if (frame.id === 0 && frame.type === FrameType.ERROR) {
        this.end(errorOf(frame));
        return this.socket.close();
      }`,
    found: /^(storm|liveness)/,
    history: "a log that was deleted, beside others",
  },
  {
    name: "a wide window stays when the topic is level",
    file: "src/sync/receiver.ts",
    find: "if (share.isWide && tide.nextOffset >= tide.highWatermark) return from;",
    replace: "",
    found: /^bounds: .*credits/,
    history: "a window that own batches have left wide",
    isQuick: true,
  },
];
