/**
 * A standby worker calls everything once, over a volume in memory. An engine compiles a function at its first call, and
 * otherwise all those first calls would come during a fail-over, one after the other.
 *
 *   first host    opens a new volume ▶ a topic ▶ an append ▶ a fetch
 *   second host   opens what the first one left, as after a crash ▶ the same calls; the append is a duplicate
 */
import { TidemarkError } from "../../errors.ts";
import { MemoryVolume } from "../../store/memory-volume.ts";
import { parts } from "../platform/parts.ts";
import type { Answer, Failed, Hello, HostOptions, Request, Told } from "../port/protocol.ts";
import type { VolumeOpener } from "../volume/engine.ts";

const SEGMENT_BYTES = 64 * 1024;
/** One record of one zero byte, of producer 1. */
const BATCH = "AAAAAAAAAAAAAAA5/////wIG/SRaAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAQ4AAAABAgAA";
const name = "rehearsal";

export const rehearsedBatch = (): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(BATCH), (letter) => letter.charCodeAt(0));

/** The page's side: it makes one call after the other. Without a request it waits for the host's greeting. */
function callerOf(port: MessagePort): (request?: Request) => Promise<unknown> {
  return (request) =>
    new Promise((resolve, reject) => {
      port.onmessage = ({ data }: MessageEvent<Hello | Failed | Told | Answer>) => {
        if ("failed" in data || "error" in data)
          reject(TidemarkError.fromWire("failed" in data ? data.failed : data.error));
        else if (!("event" in data)) resolve("ok" in data ? data.ok : data);
      };
      if (request) port.postMessage({ id: 1, ...request });
    });
}

/** Makes a worker's host (worker-host.ts) that opens its volume with this function. */
export type HostOver = (openVolume: VolumeOpener) => { open(options: HostOptions): Promise<void> };

/** Resolves when everything was called. */
export async function rehearse(hostOver: HostOver, kernel: WebAssembly.Module): Promise<void> {
  const volume = new MemoryVolume({ slotBytes: SEGMENT_BYTES });
  const callers: ReturnType<typeof callerOf>[] = [];
  for (let hosts = 0; hosts < 2; hosts++) {
    const { port1, port2: port } = new MessageChannel();
    const stage = hostOver(async () => ({ volume, rejected: [] }));
    const options: HostOptions = {
      name,
      engine: "memory",
      segmentBytes: SEGMENT_BYTES,
      kernel,
      parts,
      port,
      lifeLock: `tidemark-rehearsal:${crypto.randomUUID()}`,
      takeover: undefined,
    };
    const call = callerOf(port1);
    const greeted = call();
    void stage.open(options);
    await greeted;
    await call({ op: "topic", topic: name, settings: {} });
    await call({ op: "append", topic: name, batch: rehearsedBatch() });
    await call({ op: "fetch", topic: name, from: 0 });
    callers.push(call);
  }
  // Both are closed at the end; otherwise the second one would find a volume that was closed properly.
  for (const call of callers.reverse()) await call({ op: "close" });
}
