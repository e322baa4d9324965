/** The leader's worker and its guests: a further tab's port, for as long as that tab keeps it. */
import { TidemarkError } from "../errors.ts";
import type { JoinRequest, ManageRequest } from "./protocol.ts";
import type { WorkerHost } from "./worker-host.ts";

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
