/**
 * What a worker does for other tabs: it takes in guests (a further tab's port, for as long as that tab keeps it), and before it
 * leads it stands by, with all that can be known of the tide by then (spare.ts).
 */
import { TidemarkError } from "../errors.ts";
import { type DirectoryHandle, findDirectory } from "./opfs.ts";
import { useParts } from "./parts.ts";
import type { JoinRequest, ManageRequest, StandBy } from "./protocol.ts";
import type { HostOptions, WorkerHost } from "./worker-host.ts";

/** More than a fail-over opens, and not all of a large tide. */
const FILES_MAX = 50;

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

/** A directory, and handles of files in it, found ahead. Which files there are is asked when it is used. */
async function directoryOf(name: string): Promise<DirectoryHandle> {
  const directory = await findDirectory(["tidemark", name], false);
  const files = new Map<string, Promise<FileSystemFileHandle>>();
  const drop = (file: string): unknown => files.delete(file);
  for await (const file of directory.keys()) {
    if (files.size === FILES_MAX || !file.startsWith("slot-")) continue;
    const found = directory.getFileHandle(file);
    found.catch(() => drop(file));
    files.set(file, found);
  }
  return {
    async *keys() {
      const gone = new Set(files.keys());
      for await (const file of directory.keys()) {
        gone.delete(file);
        yield file;
      }
      gone.forEach(drop);
    },
    getFileHandle: (file: string, options?: FileSystemGetFileOptions) => files.get(file) ?? directory.getFileHandle(file, options),
    removeEntry(file: string) {
      drop(file);
      return directory.removeEntry(file);
    },
  } as unknown as DirectoryHandle;
}

export function standBy(host: WorkerHost, { standBy: port, lock, name, engine, durability, parts }: StandBy): void {
  useParts(parts);
  const found = engine === "opfs" ? directoryOf(name) : import("./idb-volume.ts").then(() => undefined);
  found.catch(() => undefined);
  const { openVolume } = host;
  host.openVolume = async (choice) => {
    host.openVolume = openVolume;
    try {
      const directory = await found;
      return await openVolume({ ...choice, known: { engine, durability, ...(directory && { directory }) } });
    } catch (thrown) {
      const { code } = TidemarkError.from(thrown);
      // It is no longer as it was: looked at from the beginning.
      if (code === "ALREADY_OPEN" || code === "CLOSED") throw thrown;
      return openVolume(choice);
    }
  };
  port.onmessage = ({ data }: MessageEvent<HostOptions>) => void host.open(data);
  void navigator.locks.request(lock, () => {
    port.postMessage(0);
    return new Promise(() => undefined);
  });
}
