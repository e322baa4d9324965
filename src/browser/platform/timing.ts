/** Waiting: for a time, or for whatever is in the queue of messages already. */
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const waiting: (() => void)[] = [];
let channel: MessageChannel | undefined;

/**
 * Resolves in a later turn: a message to ourselves comes behind those that wait already. A timer would not do, because
 * it may come a second later in a page that is hidden. Several may wait at once.
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
