/**
 * The library's worker, which hangs when it is told to on the channel "hang": busy, as with a loop of the
 * application's.
 */
import "../../src/browser/worker/worker-entry.ts";

const channel = new BroadcastChannel("hang");
channel.onmessage = ({ data }: MessageEvent<number>) => {
  channel.postMessage("hangs");
  const until = performance.now() + data;
  while (performance.now() < until);
};
