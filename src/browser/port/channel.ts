/**
 * A BroadcastChannel used like a port, by both ends. Once closed it ignores messages, as a port does, where a channel
 * would throw: answers may still come then, and Comlink sends a message when its proxies are collected.
 */
export function channelPort(name: string): MessagePort {
  const channel = new BroadcastChannel(name);
  let isOpen = true;
  const port = {
    /** It can't transfer anything. */
    copies: true,
    set onmessage(listener: BroadcastChannel["onmessage"]) {
      channel.onmessage = listener;
    },
    addEventListener: channel.addEventListener.bind(channel),
    removeEventListener: channel.removeEventListener.bind(channel),
    postMessage(message: unknown): void {
      if (isOpen) channel.postMessage(message);
    },
    close(): void {
      isOpen = false;
      channel.close();
    },
  };
  return port as typeof port & MessagePort;
}
