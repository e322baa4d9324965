/**
 * Bugs planted in sync for its simulation to find: the product with one piece of its source replaced
 * (test/support/planted-bug.ts), each with the check that must name it.
 */
import type { PlantedBug } from "../../support/planted-bug.ts";
import type { FrameFault } from "./each-frame.ts";
import type { SyncPlan, WorldKind } from "./kinds.ts";

export interface SyncMutant extends PlantedBug {
  /** By what a history fails first. */
  readonly found: RegExp;
  /** The plan of the histories that are searched. Default "first". */
  readonly plan?: SyncPlan;
  /** Only histories of these kinds can show it. */
  readonly having?: readonly (keyof WorldKind)[];
  /** The search begins at this seed, a little before the first one known to catch the bug. */
  readonly from?: number;
  /** Steps of its histories, if it takes more than others. */
  readonly ops?: number;
  /** The written history (histories.ts) that must find it, instead of drawn ones. */
  readonly history?: string;
  /** Struck so at one of the messages of a session (each-frame.ts) it must be found, instead of in drawn histories. */
  readonly frames?: FrameFault;
  /** Found within a few histories: `npm test` looks for it. */
  readonly isQuick?: true;
}

const STORAGE = "src/sync/topic-storage.ts";
const SESSION = "src/sync/session.ts";
const LINK = "src/sync/link.ts";
const PUMP = "src/sync/pump.ts";
const CLAIMER = "src/sync/claimer.ts";
const REGISTRY = "worker/stream/outboxes.ts";

export const SYNC_MUTANTS: readonly SyncMutant[] = [
  // The storage.
  {
    name: "an answer settles, although what it told of is not here yet",
    file: STORAGE,
    find: "if (!this.#taken || !isReceived(this.watermark, this.#taken.lastOffset)) return [];",
    replace: "if (!this.#taken) return [];",
    found: /^(invisible|visible twice)/,
    from: 8,
    isQuick: true,
  },
  {
    name: "a trim takes what nobody has taken yet",
    file: STORAGE,
    find: "await this.outbox.trim(this.firstUnsettled); this.#settleTaken();",
    replace: "await this.outbox.trim(this.end); this.#settleTaken();",
    found: /^(invisible|lost|device . can't be read|liveness.*DIVERGED)/,
  },
  {
    name: "own batches at the edge are not known again",
    file: STORAGE,
    find: "if (own) found.push([own, header.baseOffset]);",
    replace: "",
    found: /^(visible twice|twice)/,
    isQuick: true,
  },
  {
    name: "acknowledged before it is flushed",
    file: "src/log/log.ts",
    find: 'const acks = options.acks ?? "flushed";',
    replace: 'const acks = options.acks ?? "written";',
    found: /^(invisible|lost)/,
    from: 12,
  },
  {
    name: "a frame counts before it is flushed",
    file: "src/sync/replica.ts",
    find: "await this.log.flush();",
    replace: "void this.log.flush();",
    found: /^(invisible|replica|lost|liveness)/,
    isQuick: true,
  },
  {
    name: "no filler for a hole",
    file: "src/sync/replica.ts",
    find: "cover(nextOffset); return pieces;",
    replace: "return pieces;",
    found: /^(liveness|device . answers no read)/,
  },
  {
    name: "readers see only what the index holds",
    file: "src/sync/shown-run.ts",
    find: "if (run || !rest)",
    replace: "if (run || rest || !rest)",
    found: /^invisible/,
    isQuick: true,
  },
  {
    name: "what comes back is never an own batch, whatever its checksum",
    file: "src/sync/own-batches.ts",
    find: "const isSame = own.header!.crc === crc;",
    replace: "const isSame = false;",
    found: /^(visible twice|twice|liveness)/,
  },
  // The session.
  {
    name: "a gap is filled under an older life",
    file: SESSION,
    find: "await this.#store.beginLife(life);",
    replace: "",
    found: /^liveness.*DIVERGED/,
  },
  {
    name: "a claim before its owner is noted",
    file: SESSION,
    find: 'if (isFine || is === "claim") await store.joined',
    replace: "if (isFine) await store.joined",
    found: /^leak/,
  },
  {
    name: "owners are not compared",
    file: "src/sync/verdict.ts",
    find: "if (owner !== null && owner !== joined.owner)",
    replace: "if (owner !== null && owner !== joined.owner && !joined.owner)",
    found: /^(leak|liveness)/,
  },
  {
    name: "an edge that went back is not noticed",
    file: "src/sync/verdict.ts",
    find: 'if (joined.lineage === "back") return stopped',
    replace: 'if (joined.lineage === "back" && !joined.known) return stopped',
    found: /^(replica|lost|liveness|invisible)/,
  },
  {
    name: "a refused join settles",
    file: SESSION,
    find: "if (isFine && joined.known) store.told",
    replace: "if (joined.known) store.told",
    found: /^(lost|invisible)/,
    isQuick: true,
  },
  {
    name: "a second answer about batches in doubt replaces the first",
    file: SESSION,
    find: "this.#again = [...this.#again, ...again];",
    replace: "this.#again = again;",
    found: /^liveness/,
  },
  {
    name: "a wait of a session has no timer",
    file: SESSION,
    find: 'this.#timer = host.after(state.ms, () => this.#step({ on: "timer" }));',
    replace: "",
    found: /^liveness/,
  },
  // The link.
  {
    name: "a token that the edge refused at its renewal is forgotten",
    file: LINK,
    find: 'if (this.#state.at === "live") this.#state = { ...this.#state, token };',
    replace: "",
    found: /^storm: .* sends a refused token again/,
    history: "H23: a token that is refused at its renewal",
    isQuick: true,
  },
  {
    name: "a wait of the link has no timer",
    file: LINK,
    find: 'else if (action.do === "wait") this.#after(action.ms, signal, () => this.step({ on: "timer" }));',
    replace: 'else if (action.do === "wait") void signal;',
    found: /^liveness/,
    isQuick: true,
  },
  {
    name: "a silent socket is not pinged",
    file: LINK,
    find: "if (left <= 0) this.#ping(PONG_MS);",
    replace: "",
    found: /^liveness/,
    frames: "silent",
  },
  {
    name: "a session stays with a socket that has ended",
    file: LINK,
    find: "for (const session of this.#options.sessions) session.detach();",
    replace: "",
    found: /^liveness/,
  },
  {
    name: "a refused token is sent again",
    file: "src/sync/link-state.ts",
    find: "if (token !== undefined && token === refused)",
    replace: "if (token !== undefined && token === refused && tries < 0)",
    found: /^storm/,
  },
  // The pump.
  {
    name: "a push leaves positions out",
    file: PUMP,
    find: "if (found.at !== chain.expected)",
    replace: "if (found.at < chain.expected)",
    found: /^blocked at what is good/,
  },
  {
    name: "poison blocks the frame's first batch, not the one that is named",
    file: PUMP,
    find: 'const index = Number(error.details["index"] ?? 0);',
    replace: "const index = 0;",
    found: /^blocked at what is good/,
  },
  // The claimer.
  {
    name: "batches in doubt are sent without asking",
    file: CLAIMER,
    find: "if (stand.inDoubt.length > 0) {",
    replace: "if (stand.inDoubt.length > 1_000) {",
    found: /^twice/,
  },
  // The edge.
  {
    name: "a claim is granted whatever was read",
    file: REGISTRY,
    find: "if (readTo < mustHaveRead || readTo > end)",
    replace: "if (readTo > end)",
    found: /^twice/,
  },
  {
    name: "an unknown outbox is taken for a new one",
    file: REGISTRY,
    find: "if (registered || this.#forgotten.at > 0)",
    replace: "if (registered && this.#forgotten.at < 0)",
    found: /^(twice|liveness)/,
  },
  {
    name: "that the edge forgot is not kept",
    file: REGISTRY,
    find: "this.#forgotten = { at: nextOffset, generation: Math.max(this.#forgotten.generation, generation) };",
    replace: "",
    found: /^(twice|liveness)/,
  },
  {
    name: "the registry is in memory only",
    file: REGISTRY,
    find: "hot.at = hot.written = later(hot.at, entryOf(note, hot.at, writtenAt));",
    replace: "",
    found: /^(twice|liveness)/,
    isQuick: true,
  },
  {
    name: "a spilled entry is dropped",
    file: "worker/stream/outbox-memory.ts",
    find: "this.#tables.save(id, hot.at); this.#leaving.add(id);",
    replace: "this.#leaving.add(id);",
    found: /^(twice|liveness)/,
  },
  {
    name: "what compaction took as a whole disagrees",
    file: "worker/stream/join.ts",
    find: "return segment?.compacted ?? true;",
    replace: "return segment?.compacted ?? false;",
    found: /^liveness.*DIVERGED/,
  },
  // The echo of own batches.
  {
    name: "what a copy of the device pushed is taken for the own batches at these positions",
    file: "src/sync/own-echo.ts",
    find: "header.baseOffset === at && header.crc === crcs[count]",
    replace: "header.baseOffset === at",
    found: /^(replica|twice|lost|visible twice)/,
  },
  {
    name: "own batches get offsets that are not theirs",
    file: "src/sync/own-echo.ts",
    find: "stampBaseOffset(batch, offset + header.baseOffset - position);",
    replace: "stampBaseOffset(batch, offset + count);",
    found: /^(replica|liveness)/,
    isQuick: true,
  },
];
