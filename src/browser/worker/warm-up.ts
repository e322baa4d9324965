/**
 * A worker that stands by runs all of it once, over a volume in memory: an engine compiles a function when it is first called,
 * and those calls would come in a fail-over, one after the other.
 *
 *   first host    opens what is new ▶ a topic ▶ an append ▶ a fetch
 *   second host   opens what the first one left, as after a crash ▶ the same; the append is a duplicate
 */
import { TidemarkError } from "../../errors.ts";
import { MemoryVolume } from "../../store/memory-volume.ts";
import { parts } from "../platform/parts.ts";
import type { Answer, Failed, Hello, Request, Told } from "../port/protocol.ts";
import type { HostOptions, WorkerHost } from "./worker-host.ts";

const SEGMENT_BYTES = 64 * 1024;
/** One record of one zero byte, of producer 1. */
const BATCH = "AAAAAAAAAAAAAAA5/////wIG/SRaAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAQ4AAAABAgAA";
const name = "rehearsal";

export const rehearsedBatch = (): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(BATCH), (letter) => letter.charCodeAt(0));

/** The page's side: one call after the other. Told nothing but events, it waits for the host's greeting. */
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

/** Resolves when everything was called. `host`: any of the kind that is to be rehearsed; it takes no part in it. */
export async function rehearse(host: WorkerHost, kernel: WebAssembly.Module): Promise<void> {
  const Host = host.constructor as new () => WorkerHost;
  const volume = new MemoryVolume({ slotBytes: SEGMENT_BYTES });
  const callers: ReturnType<typeof callerOf>[] = [];
  for (let hosts = 0; hosts < 2; hosts++) {
    const { port1, port2: port } = new MessageChannel();
    const stage = new Host();
    stage.openVolume = async () => ({ volume, rejected: [] });
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
  // Both at the end, or the second one would find it closed in order.
  for (const call of callers.reverse()) await call({ op: "close" });
}
