/** A worker's first message says what it must do: open a tide and lead it, or stand by until it gets a message. */
import { TidemarkError } from "../../errors.ts";
import type { Failed, HostOptions, StandBy } from "../port/protocol.ts";
import { WorkerHost } from "./worker-host.ts";

export async function start(options: HostOptions | StandBy): Promise<void> {
  if (!("standBy" in options)) return new WorkerHost().open(options);
  try {
    // What every fail-over needs, so that it waits for no network. Without one of them this worker can't be the next.
    const [{ standBy }] = await Promise.all([import("./standby.ts"), import("../../store/recover-log.ts")]);
    standBy(options, (openVolume) => new WorkerHost(openVolume));
  } catch (thrown) {
    options.standBy.postMessage({ failed: TidemarkError.from(thrown).toWire() } satisfies Failed);
  }
}
