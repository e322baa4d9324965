/**
 * The broker: a SharedWorker that every tab of the origin knows, for a MessagePort can be sent only to somebody one
 * has a port to already. It hands ports from followers to the leader's page and has no part in anything after that.
 *
 *   tab ◀── { broker: id } ─────────────── broker      once, when it connects
 *   leader ──── { lead: lifeLock } ──────▶ broker
 *   follower ── { to: lifeLock, join } ──▶ broker ── { join } ──▶ leader       the port moves along
 *   hidden tab ─ { sleep: n, ms } ───────▶ broker ── { woken: n }              its own timers run only once a second
 *
 * Tabs of different builds have different brokers, and a broker dies with the process it shares: so each has an id,
 * which the leader announces, and holds a lock of that name for its life. Where ids differ, or there is none, ports
 * are replaced by a BroadcastChannel of a name of their own.
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

const EARLY_MAX = 20;

/** In the SharedWorker. */
export function serveTabs(scope: { onconnect: ((event: MessageEvent) => void) | null }): void {
  const id = newBrokerLock();
  /** One per tide and term; those of past terms are few, and small. */
  const leaders = new Map<string, MessagePort>();
  /** Ways to leaders that have not said so yet: a follower may have heard of one by then. */
  const early = new Map<string, Brokered[]>();
  const pass = ({ to, join }: Brokered): void =>
    leaders.get(to)!.postMessage({ join } satisfies Said, [join.port as MessagePort]);
  // Without the lock nobody is told of this broker, and ports are replaced.
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
        // Some never come to lead.
        if (early.size > EARLY_MAX) early.delete(early.keys().next().value!);
      }
    };
    void held.then(() => port!.postMessage({ broker: id }));
  };
}
