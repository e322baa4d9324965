/** A follower's end of its way to the leader's worker, and what the worker is sent of the other: a port, or where none can be sent a channel's name. */
import type { PortClient } from "./port-client.ts";
import type { PortOrName } from "./protocol.ts";

export const newPortName = (): string => `tidemark-port:${crypto.randomUUID()}`;

interface Ends {
  readonly connection: PortClient;
  readonly theirs: PortOrName;
}

export function byPort(Connection: typeof PortClient, leader: string, release: () => void): Ends {
  const { port1, port2: theirs } = new MessageChannel();
  return { connection: new Connection(port1, leader, release), theirs };
}

/** `name`: of the channel that stands in for the port. */
export function byChannel(Connection: typeof PortClient, leader: string, release: () => void, name: string): Ends {
  const channels: BroadcastChannel[] = [];
  const open = (channelName: string): MessagePort => {
    const channel = new BroadcastChannel(channelName);
    channels.push(channel);
    return channel as unknown as MessagePort;
  };
  const connection = new Connection(open(name), leader, () => {
    release();
    for (const channel of channels) channel.close();
  });
  connection.pair = () => {
    const next = newPortName();
    return [open(next), next];
  };
  return { connection, theirs: name };
}
