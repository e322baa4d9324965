/** The host's timer, as the socket's client wants it. */
import type { EdgeSocketOptions } from "../../src/sync/edge-socket.ts";

export const timers: EdgeSocketOptions = {
  after(ms, work) {
    const timer = setTimeout(work, ms);
    return () => clearTimeout(timer);
  },
};
