/** What sync is doing, in words for people. */
import type { SyncStatus } from "tidemark/browser";

const changes = (count: number): string => (count === 1 ? "1 change" : `${count} changes`);

export function statusText({ state, reason, topics }: SyncStatus): string {
  const waiting = Object.values(topics).reduce((sum, { pending }) => sum + pending.records, 0);
  const waits = waiting === 0 ? "" : ` ${changes(waiting)} of yours ${waiting === 1 ? "waits" : "wait"}.`;
  switch (state) {
    case "live":
      return waiting === 0 ? "Everything is on all devices." : `Sending ${changes(waiting)}.`;
    case "paused":
      return reason === "signed-out" ? `Sign in to go on.${waits}` : `You work offline.${waits}`;
    case "offline":
      return `No connection.${waits}`;
    case "blocked":
      return "The edge refuses a change; see the console.";
    default:
      return `Connecting.${waits}`;
  }
}
