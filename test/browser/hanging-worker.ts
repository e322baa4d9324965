/** The library's worker, which hangs when it is told to on the channel "hang", as in a loop of the application's. */
import "../../src/browser/worker/worker-entry.ts";
import { standStill } from "../tabs/stand-still.ts";

const channel = new BroadcastChannel("hang");
channel.onmessage = ({ data }: MessageEvent<number>) => {
  channel.postMessage("hangs");
  standStill(data);
};
