/**
 * The broker: a SharedWorker that every tab of the origin can connect to. A tab can send a MessagePort only over a port
 * that it already has. So followers send their ports to the broker, and the broker passes them on to the leader's page.
 * It takes no part in anything after that.
 *
 *   tab ◀── { broker: id } ─────────────── broker      once, when it connects
 *   leader ──── { lead: lifeLock } ──────▶ broker
 *   follower ── { to: lifeLock, join } ──▶ broker ── { join } ──▶ leader       the port moves along
 *   hidden tab ─ { sleep: n, ms } ───────▶ broker ── { woken: n }              its own timers run only once a second
 *
 * Tabs of different builds have different brokers, and a broker dies with its process. So each broker has an id, and
 * holds a lock of that name as long as it lives. The leader announces the id of its broker. If a follower has another
 * broker or none, a BroadcastChannel with a name of its own takes the port's place.
 */
import { newBrokerLock } from "./locks.ts";
import { holdForLife } from "../platform/locks.ts";
import type { JoinRequest } from "../port/protocol.ts";

export interface Brokered {
  readonly to: string;
  readonly join: JoinRequest;
}
export interface Sleep {
  readonly sleep: number;
  readonly ms: number;
}
export type Said = { readonly broker: string } | { readonly join: JoinRequest } | { readonly woken: number };

/** Most workers for which joins are kept until they lead. Beyond it the oldest entry is dropped. */
const EARLY_MAX = 20;

/** Runs in the SharedWorker. */
export function serveTabs(scope: { onconnect: ((event: MessageEvent) => void) | null }): void {
  const id = newBrokerLock();
  /** The port of each leader's page, by its worker's life lock. Entries of past terms stay: they are few and small. */
  const leaders = new Map<string, MessagePort>();
  /**
   * Joins to leaders that have not announced themselves here yet: a follower may hear of a leader before the broker
   * does.
   */
  const early = new Map<string, Brokered[]>();
  const pass = ({ to, join }: Brokered): void =>
    leaders.get(to)!.postMessage({ join } satisfies Said, [join.port as MessagePort]);
  // Tabs are told the id only once the lock is held. Without it they use channels in place of ports.
  const held = new Promise<void>((resolve) => holdForLife(id, resolve).catch(() => undefined));
  scope.onconnect = ({ ports: [port] }) => {
    port!.onmessage = ({ data }: MessageEvent<{ lead: string } | Sleep | Brokered>) => {
      if ("lead" in data) {
        leaders.set(data.lead, port!);
        early.get(data.lead)?.forEach(pass);
        early.delete(data.lead);
      } else if ("sleep" in data) setTimeout(() => port!.postMessage({ woken: data.sleep } satisfies Said), data.ms);
      else if (leaders.has(data.to)) pass(data);
      else {
        early.set(data.to, [...(early.get(data.to) ?? []), data]);
        // Some workers never lead. The joins that have waited longest are dropped.
        if (early.size > EARLY_MAX) early.delete(early.keys().next().value!);
      }
    };
    void held.then(() => port!.postMessage({ broker: id }));
  };
}
