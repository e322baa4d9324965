/** Waiting: for a time, or for messages that are already queued. */
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const waiting: (() => void)[] = [];
let channel: MessageChannel | undefined;

/**
 * Resolves in a later turn, behind messages that already wait. It sends a message to itself. A timer would not do,
 * because in a hidden page it may come a second later. Several calls may wait at once.
 */
export function laterTurn(): Promise<void> {
  if (!channel) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => waiting.shift()!();
  }
  const { port2 } = channel;
  return new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });
}
