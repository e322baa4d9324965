/**
 * What a worker that leads does for other tabs: each is a guest, served on a port of its own for as long as its tab
 * keeps that. Loaded when the first one comes.
 */
import { TidemarkError } from "../../errors.ts";
import { whenFree } from "../platform/locks.ts";
import { sleep } from "../platform/timing.ts";
import { channelPort } from "../port/channel.ts";
import type { PortServer } from "../port/port-server.ts";
import type { JoinRequest, LeaveRequest, ManageRequest } from "../port/protocol.ts";

/** What guests need of the worker's host. */
export interface GuestHost {
  /** One per tab; the first is the page's own. */
  readonly servers: Set<PortServer>;
  serve(port: MessagePort, manage: (request: ManageRequest) => Promise<unknown>): PortServer;
  manage(request: ManageRequest): Promise<unknown>;
}

/** What only tabs ask for. */
export async function serve(host: GuestHost, request: JoinRequest | LeaveRequest): Promise<void> {
  if (request.op === "join") return admit(host, request);
  // The page's own: what it has appended is written, what it reads nobody hears. To close the files takes longer than
  // such a worker has.
  const [server] = host.servers;
  const { running } = server!;
  const own = [...running].slice(0, -1);
  for (const [, each] of own) each.abort(new TidemarkError("CLOSED", "its page is gone"));
  while (own.some(([id]) => running.has(id))) await sleep(1);
  close();
}

/** A guest can't end the tide, nor bring others along. */
export function admit(host: GuestHost, { port, life }: JoinRequest): void {
  const channels: MessagePort[] = [];
  const open = (end: MessagePort | string): MessagePort => {
    const channel = typeof end === "string" ? channelPort(end) : end;
    channels.push(channel);
    return channel;
  };
  const manage = async (request: ManageRequest): Promise<unknown> => {
    if (["close", "join", "leave"].includes(request.op))
      throw new TidemarkError("INVALID_ARGUMENT", "only the leader's page may ask for this");
    return host.manage(request.op === "control" ? { ...request, port: open(request.port) } : request);
  };
  const server = host.serve(open(port), manage);
  whenFree(life, () => {
    host.servers.delete(server);
    for (const request of server.running.values()) request.abort(new TidemarkError("CLOSED", "its tab is gone"));
    for (const channel of channels) channel.close();
  });
}
