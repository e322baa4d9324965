/**
 * What a worker that leads does for other tabs: each is a guest, served on a port of its own as long as its tab keeps
 * that port. Loaded when the first guest comes.
 */
import { TidemarkError } from "../../errors.ts";
import { whenFree } from "../platform/locks.ts";
import { sleep } from "../platform/timing.ts";
import { channelPort } from "../port/channel.ts";
import type { PortHost, PortServer } from "../port/port-server.ts";
import type { JoinRequest, LeaveRequest, ManageRequest } from "../port/protocol.ts";

/** What guests need of the worker's host. */
export interface GuestHost {
  /** One server for each tab; the first one is for the worker's own page. */
  readonly servers: Set<PortServer>;
  serve(port: MessagePort, manage: PortHost["manage"]): PortServer;
  readonly manage: PortHost["manage"];
}

/** Requests that only tabs make. */
export async function serve(host: GuestHost, request: JoinRequest | LeaveRequest): Promise<void> {
  if (request.op === "join") return admit(host, request);
  // The worker's own page goes: its appends are still written, its reads have no reader any more. The files are not
  // closed, because that would take longer than such a worker has.
  const [server] = host.servers;
  const { running } = server!;
  const own = [...running].slice(0, -1);
  for (const [, each] of own) each?.abort(new TidemarkError("CLOSED", "its page is gone"));
  while (own.some(([id]) => running.has(id))) await sleep(1);
  close();
}

/** Serves a guest. A guest can't end the tide or bring other guests. */
export function admit(host: GuestHost, { port, life }: JoinRequest): void {
  const channels: MessagePort[] = [];
  const open = (end: MessagePort | string): MessagePort => {
    const channel = typeof end === "string" ? channelPort(end) : end;
    channels.push(channel);
    return channel;
  };
  const manage = async (request: ManageRequest, signal?: AbortSignal): Promise<unknown> => {
    if (["close", "join", "leave"].includes(request.op))
      throw new TidemarkError("INVALID_ARGUMENT", "only the leader's page may ask for this");
    return host.manage(request.op === "control" ? { ...request, port: open(request.port) } : request, signal);
  };
  const server = host.serve(open(port), manage);
  // A guest is in another process. Memory that an ack brought back would be copied once more.
  server.copies = true;
  whenFree(life, () => {
    host.servers.delete(server);
    for (const request of server.running.values()) request?.abort(new TidemarkError("CLOSED", "its tab is gone"));
    for (const channel of channels) channel.close();
  });
}
