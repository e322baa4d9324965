/** A worker's first message says what it is for: to open a tide and lead it, or to stand by until it is told to. */
import { TidemarkError } from "../../errors.ts";
import type { Failed, HostOptions, StandBy } from "../port/protocol.ts";
import { WorkerHost } from "./worker-host.ts";

export async function start(options: HostOptions | StandBy): Promise<void> {
  if (!("standBy" in options)) return new WorkerHost().open(options);
  try {
    const { standBy } = await import("./standby.ts");
    standBy(options, (openVolume) => new WorkerHost(openVolume));
  } catch (thrown) {
    options.standBy.postMessage({ failed: TidemarkError.from(thrown).toWire() } satisfies Failed);
  }
}
