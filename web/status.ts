/** The lines below the title: where the log is stored, what an ack means there, and which tab writes. */
import type { StorageReport, Tide } from "../src/browser/index.ts";
import { byId, bytes, number } from "./dom.ts";

type Engines = Readonly<Record<string, string>>;
const ENGINES: Engines = { opfs: "the origin private file system", indexeddb: "IndexedDB", memory: "memory" };
const WORTH = {
  device:
    "An ack says the record was flushed to the device: it survives a crash of the tab, the browser and, as far as " +
    "the disk keeps its word, the power.",
  process: "An ack survives a crash of the tab and the browser, not a power cut.",
  none: "An ack ends with this window: nothing here is kept.",
} as const;
/** How often the usage is read: the browser counts slowly, and nobody watches this line all the time. */
const USAGE_MS = 2_000;

export function tellStorage({ engine, durability, persisted, rejected }: StorageReport, openMs: number): void {
  const kept = persisted
    ? "The browser will not evict it by itself."
    : "The browser may evict it when the disk runs full.";
  const refused = rejected.map(({ engine: other, reason }) => ` ${ENGINES[other]} was refused: ${reason}.`).join("");
  byId("storage").textContent =
    `Opened in ${number(openMs)} ms in ${ENGINES[engine]}. ${WORTH[durability]} ${kept}${refused}`;
}

export function tellRole(role: Tide["role"]): void {
  byId("role").textContent =
    role === "leader"
      ? "This tab writes for all tabs of this log. Close it, and another takes over."
      : "Another tab writes for this one. Close that tab, and this one or a third takes over.";
}

let usageAt = -USAGE_MS;
let usage = "–";

/** This origin's storage use as the browser counts it, read at most every two seconds. */
export async function usageNow(): Promise<string> {
  if (performance.now() - usageAt < USAGE_MS) return usage;
  usageAt = performance.now();
  const estimate = await navigator.storage?.estimate?.().catch(() => undefined);
  usage = estimate?.usage === undefined ? "–" : bytes(estimate.usage);
  return usage;
}
