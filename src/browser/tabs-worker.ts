/**
 * What a worker does for other tabs: it takes in guests (a further tab's port, for as long as that tab keeps it), and before it
 * leads it stands by, with all that can be known of the tide by then (spare.ts).
 */
import { TidemarkError } from "../errors.ts";
import { FilesAhead } from "./ahead.ts";
import { useParts } from "./parts.ts";
import type { JoinRequest, ManageRequest, Ready, StandBy } from "./protocol.ts";
import type { HostOptions, WorkerHost } from "./worker-host.ts";

/** A guest can't end the tide, nor bring others along. */
export function admit(host: WorkerHost, { port, life }: JoinRequest): void {
  const channels: MessagePort[] = [];
  const open = (end: MessagePort | string): MessagePort => {
    const channel = typeof end === "string" ? (new BroadcastChannel(end) as unknown as MessagePort) : end;
    channels.push(channel);
    return channel;
  };
  const manage = async (request: ManageRequest): Promise<unknown> => {
    if (request.op === "close" || request.op === "join") throw new TidemarkError("INVALID_ARGUMENT", "only the leader's page may ask for this");
    return host.manage(request.op === "control" ? { ...request, port: open(request.port) } : request);
  };
  const server = host.serve(open(port), manage);
  void navigator.locks.request(life, () => {
    host.servers.delete(server);
    for (const request of server.running.values()) request.abort(new TidemarkError("CLOSED", "its tab is gone"));
    for (const channel of channels) {
      // Answers may still come, and a BroadcastChannel that is closed throws where a port does not.
      channel.postMessage = () => undefined;
      channel.close();
    }
  });
}

export function standBy(host: WorkerHost, { standBy: port, lock, name, engine, durability, parts }: StandBy): void {
  useParts(parts);
  const found = engine === "opfs" ? FilesAhead.find(name) : import("./idb-volume.ts").then(() => undefined);
  found.catch(() => undefined);
  const { openVolume } = host;
  host.openVolume = async (choice) => {
    host.openVolume = openVolume;
    let files: FilesAhead | undefined;
    try {
      files = await found;
      if (choice.takeover) await files?.drop();
      const opening = openVolume({ ...choice, known: { engine, durability, ...(files && { directory: files.directory }) } });
      opening.then(({ volume }) => files?.endWith(volume)).catch(() => undefined);
      const proved = files?.prove(choice.lifeLock!).catch(async (thrown: unknown) => {
        await opening.then(({ volume }) => volume.close()).catch(() => undefined);
        throw thrown;
      });
      return (await Promise.all([opening, proved]))[0];
    } catch (thrown) {
      await files?.drop();
      const { code } = TidemarkError.from(thrown);
      // It is no longer as it was: looked at from the beginning.
      if (code === "ALREADY_OPEN" || code === "CLOSED") throw thrown;
      return openVolume(choice);
    }
  };
  port.onmessage = ({ data }: MessageEvent<HostOptions | Ready>) => {
    if ("last" in data) void found.then((files) => files?.open(data.last)).catch(() => undefined);
    else void host.open(data);
  };
  void navigator.locks.request(lock, () => {
    port.postMessage(0);
    return new Promise(() => undefined);
  });
}
