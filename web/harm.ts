/**
 * Damage from outside. A button leaves an order in the session's storage and reloads the page without closing the log.
 * The next page carries out the order on the slot's file, while no page of the playground has the log open.
 */
import type { LogRecovery, TopicState } from "../src/browser/index.ts";
import { el, number } from "./dom.ts";
import type { Harm } from "./harm-worker.ts";
import { alone } from "./pages.ts";

const KEY = "tidemark-harm";

export interface Damage {
  readonly from: number;
  readonly to: number;
}

export type Order =
  | { readonly kind: "leave"; readonly records: number }
  | ({ readonly kind: "tear" | "flip"; readonly records: number } & Harm);

export function orderAndReload(order: Order): void {
  sessionStorage.setItem(KEY, JSON.stringify(order));
  location.reload();
}

/** Carries out the order that the page before left, and returns it. Undefined if there is none. */
export async function carryOut(): Promise<Order | undefined> {
  const left = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  if (!left) return undefined;
  const order = JSON.parse(left) as Order;
  if (order.kind !== "leave") await alone(() => hurt(order));
  return order;
}

async function hurt({ path, position, bytes, mask }: Harm): Promise<void> {
  const worker = new Worker(new URL("./harm-worker.ts", import.meta.url), { type: "module" });
  try {
    await new Promise<void>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<string>) => (data === "done" ? resolve() : reject(new Error(data)));
      worker.onerror = () => reject(new Error("the harm worker failed"));
      worker.postMessage({ path, position, bytes, mask } satisfies Harm);
    });
  } finally {
    worker.terminate();
  }
}

/** Tears the last batch: its second half becomes zeros, as if the power had failed during its write. */
export function tearOf(path: readonly string[], state: TopicState, lastBatchBytes: number): Harm {
  const active = state.segments.at(-1)!;
  const half = Math.floor(lastBatchBytes / 2);
  return {
    path: [...path, slotFile(active.slot!)],
    position: active.bodyPosition! + active.bytes - half,
    bytes: half,
    mask: 0,
  };
}

/** Flips one bit in the middle of the oldest segment. */
export function flipOf(path: readonly string[], state: TopicState): Harm {
  const first = state.segments[0]!;
  return {
    path: [...path, slotFile(first.slot!)],
    position: first.bodyPosition! + Math.floor(first.bytes / 2),
    bytes: 1,
    mask: 1,
  };
}

const slotFile = (slot: number): string => `slot-${String(slot).padStart(4, "0")}`;

/** Recovery's report on a topic, in words. `met` is damage that a reader has found since. */
export function inWords(report: LogRecovery, met: readonly Damage[] = []): HTMLElement {
  const list = el("ul");
  const say = (text: string) => list.append(el("li", {}, text));
  const { log, logStartOffset, logEndOffset, segments, cut, quarantined, cleanShutdown, scannedBatches } = report;
  say(`${log}: offsets ${number(logStartOffset)} to ${number(logEndOffset)} in ${segments} segments.`);
  say(
    cleanShutdown
      ? "It had been closed properly; nothing had to be checked at the opening."
      : `It had not been closed: ${number(scannedBatches)} batches of the active segment were checked.`,
  );
  if (cut)
    say(
      `A torn tail was cut at offset ${number(cut.offset)}: ${number(cut.bytes)} bytes that were never whole ` +
        `(${cut.reason}).`,
    );
  for (const { from, to, reason } of quarantined) {
    say(
      `Offsets ${number(from)} to ${number(to - 1)} are damaged (${reason}) and set apart; reading them is an ` +
        `error, never a gap.`,
    );
  }
  if (!cut && quarantined.length === 0 && met.length === 0) say("Nothing was lost.");
  return list;
}
