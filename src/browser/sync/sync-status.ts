/** What status and errors say of a topic's session and of the link, in the words of the public API. */
import { TidemarkError } from "../../errors.ts";
import { libraryCodeOf } from "../../sync/edge-codes.ts";
import type { LinkState, PauseWhy } from "../../sync/link-state.ts";
import { PROVISIONAL_FROM } from "../../log/provisional-layout.ts";
import type { Block } from "../../sync/pump.ts";
import type { Session } from "../../sync/session.ts";
import type { Failure } from "../../sync/session-options.ts";
import type { BlockedContents } from "./answers.ts";
import { atEdgeTo } from "./waits.ts";
import type { BlockedBatch, SyncStatus, TopicSyncStatus } from "../sync-api.ts";

/** Why a wait for this topic ends without it. `why`: the link is paused. */
export function endOf(topic: string, { state, block, failure }: Session, why?: PauseWhy): TidemarkError {
  if (state.at === "stopped") {
    const { code, details } = state;
    const who = code === "OWNER_CHANGED" ? "sign in as the records' owner in every tab, or " : "";
    const message = `sync of ${topic} has stopped: ${who}resolve() says how it goes on`;
    return new TidemarkError(code, message, { ...details, topic });
  }
  if (why === "version")
    return new TidemarkError("UNSUPPORTED_EDGE", "the edge does not know this version of sync: load the page anew", {
      topic,
    });
  const { code: edge = "FORBIDDEN", message = failure?.message } = block ?? ({} as Partial<Block>);
  const how = block ? "unblock() says what becomes of it" : "authenticate() gives another token";
  return new TidemarkError(libraryCodeOf(edge), `${topic} is blocked: ${message || edge}. ${how}`, { topic, edge });
}

export const reopened = (): TidemarkError =>
  new TidemarkError("CLOSED", "the tide is opened anew", { reason: "reopened" });

/** The topic was detached or began anew while something waited for it. */
export const leftTopic = (topic: string): TidemarkError =>
  new TidemarkError("CLOSED", `sync of ${topic} has ended or begun anew: wait again, if it is still synced`, {
    topic,
    reason: "left",
  });

function stateOf(
  link: LinkState,
  isConnected: boolean,
  topics: readonly TopicSyncStatus["state"][],
): SyncStatus["state"] {
  if (topics.includes("blocked")) return "blocked";
  switch (link.at) {
    case "idle":
    case "closed":
      return "idle";
    case "paused":
      return "paused";
    case "backoff":
      return "offline";
    case "live":
      if (topics.includes("stopped")) return "blocked";
      if (!isConnected) return "connecting";
      return topics.every((state) => state === "live") ? "live" : "catching-up";
    default:
      return "connecting";
  }
}

/** `contents` are of the block, once they are read. */
export function blockedOf({ block, store }: Session, contents: BlockedContents | undefined): BlockedBatch | undefined {
  if (!block) return undefined;
  const { code, message, ranges } = block;
  const [first] = ranges;
  const named = { records: ranges.reduce((sum, [from, to]) => sum + to - from, 0), bytes: 0 };
  const { records, bytes } = contents ?? (first ? named : store.pending);
  const keys = contents?.keys ?? [];
  return { code, message, firstOffset: first && PROVISIONAL_FROM + first[0], records, bytes, keys };
}

/** `error`: of the newest try to make the copy anew. */
export function topicStatus(
  session: Session,
  contents: BlockedContents | undefined,
  error: Failure | undefined,
): TopicSyncStatus {
  const { state, store, lastSyncedAt } = session;
  const { end: edgeEnd, caughtFrom } = session.atEdge;
  const { watermark, end, pending } = store;
  // What the edge has said that it has is not settled while nothing can be read.
  const isTaken = session.isBlind && atEdgeTo(session) >= end;
  const { records, bytes } = isTaken ? { records: 0, bytes: 0 } : pending;
  const blocked = state.at === "blocked" ? blockedOf(session, contents) : undefined;
  const below = store.replicaNote?.stale;
  const isCatchingUp = state.at === "catching-up" && edgeEnd !== undefined && edgeEnd > caughtFrom;
  return {
    state: nameOf(state.at),
    pending: { records, bytes },
    ...(edgeEnd !== undefined && !session.isBlind && { behind: { records: Math.max(0, edgeEnd - watermark) } }),
    ...(isCatchingUp && { progress: Math.min(1, (watermark - caughtFrom) / (edgeEnd - caughtFrom)) }),
    watermark,
    serializer: store.outboxNote.options?.serializer ?? "json",
    hasSynced: lastSyncedAt !== undefined,
    ...(lastSyncedAt !== undefined && { lastSyncedAt }),
    ...(below !== undefined && { stale: { below, ...(error && { error }) } }),
    ...(blocked && { blocked }),
    ...(state.at === "stopped" && { stopped: { code: state.code, details: state.details } }),
  };
}

/** The status that all tabs are told. */
export function tideStatus(
  links: {
    readonly state: LinkState;
    readonly isConnected: boolean;
    readonly nextTryAt: number | undefined;
    readonly failure: SyncStatus["error"];
  },
  topics: Readonly<Record<string, TopicSyncStatus>>,
  sessions: Iterable<Session>,
): SyncStatus {
  const { state: link, isConnected: connected, nextTryAt } = links;
  const all = Object.values(topics);
  const state = stateOf(
    link,
    connected,
    all.map(({ state }) => state),
  );
  const reason = state === "paused" || state === "blocked" ? reasonOf(link, all) : undefined;
  const error = links.failure ?? [...sessions].find(({ failure }) => failure)?.failure;
  return {
    state,
    connected,
    ...(reason && { reason }),
    ...(error && { error }),
    ...(nextTryAt !== undefined && { nextTryAt }),
    topics,
  };
}

/** Why sync is paused or blocked. */
function reasonOf(link: LinkState, topics: readonly TopicSyncStatus[]): SyncStatus["reason"] {
  if (link.at === "paused") return link.why;
  if (topics.some(({ stopped }) => stopped?.code === "OWNER_CHANGED")) return "owner";
  const { blocked, stopped } = topics.find((topic) => topic.blocked ?? topic.stopped) ?? {};
  return blocked ? libraryCodeOf(blocked.code) : stopped?.code;
}

function nameOf(at: Session["state"]["at"]): TopicSyncStatus["state"] {
  if (at === "waiting" || at === "retrying") return "offline";
  if (at === "opening" || at === "joining") return "joining";
  return at === "claiming" ? "catching-up" : at;
}
