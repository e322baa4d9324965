/** The library's worker, which hangs when it is told to on the channel "hang": busy, as with a loop of the application's. */
import "../../src/browser/worker-entry.ts";

new BroadcastChannel("hang").onmessage = ({ data }: MessageEvent<number>) => {
  const until = performance.now() + data;
  while (performance.now() < until);
};
