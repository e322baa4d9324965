/** What sync is doing, in words for people, and what it asks them. */
import type { Sync, SyncStatus } from "tidemark/browser";

const changes = (count: number): string => (count === 1 ? "1 change" : `${count} changes`);

/** Why nothing is sent or fetched, by the status' `reason`. */
const PAUSES: Readonly<Record<string, string>> = {
  user: "You work offline.",
  hidden: "Resting until somebody looks.",
  "signed-out": "Sign in to go on.",
  forbidden: "This account may not use the list.",
  version: "This page is too old for its edge: load it again.",
};

/** How many own changes are on this device only. */
export const waitingIn = ({ topics }: SyncStatus): number =>
  Object.values(topics).reduce((sum, { pending }) => sum + pending.records, 0);

export function statusText(status: SyncStatus): string {
  const { state, reason, topics } = status;
  const waiting = waitingIn(status);
  const waits = waiting === 0 ? "" : ` ${changes(waiting)} of yours ${waiting === 1 ? "waits" : "wait"}.`;
  // What was refused or has stopped stands in the question below (questionOf).
  if (Object.values(topics).some(({ stopped }) => stopped)) return `The list is on this device only.${waits}`;
  switch (state) {
    case "live":
      return waiting === 0 ? "Everything is on all devices." : `Sending ${changes(waiting)}.`;
    case "paused":
      return `${PAUSES[reason ?? ""] ?? "Paused."}${waits}`;
    case "offline":
      return `No connection.${waits}`;
    case "blocked":
      return "The edge has refused something.";
    default:
      return `Connecting.${waits}`;
  }
}

export interface Question {
  readonly text: string;
  /** By what its button says. */
  readonly answers: Readonly<Record<string, () => Promise<void>>>;
}

/** What only a person can decide, of one topic: changes that the edge refuses, or a list that is not the same there. */
export function questionOf(sync: Sync, topic: string): Question | undefined {
  const { blocked, stopped } = sync.status.topics[topic] ?? {};
  if (blocked) {
    const { records, message, code, keys } = blocked;
    const which = keys.length > 0 ? ` (${keys.join(", ")})` : "";
    return {
      text: `The edge refuses ${changes(records)} of yours${which}: ${message || code}.`,
      answers: {
        "Try again": () => sync.unblock(topic, "retry"),
        // Into the local topic "changes.aside", for somebody who can tell what was wrong.
        "Set aside": () => sync.unblock(topic, "setAside"),
        Discard: () => sync.unblock(topic, "discard"),
      },
    };
  }
  if (stopped?.code === "OWNER_CHANGED") return { text: "These changes are another person's.", answers: {} };
  if (!stopped) return undefined;
  return {
    text: `The list at the edge is not the one that this device knows (${stopped.code}).`,
    answers: {
      // The old one stays as the local topic "changes.kept".
      "Take the edge's": () => sync.resolve(topic, "restart"),
      ...(stopped.code === "DIVERGED" && { "Bring back what it lost": () => sync.resolve(topic, "offerAgain") }),
    },
  };
}
