/** Timers of the host, in the form that the socket's client (src/sync/edge-socket.ts) takes. */
import type { EdgeSocketOptions } from "../../src/sync/edge-socket.ts";

export const timers: EdgeSocketOptions = {
  after(ms, work) {
    const timer = setTimeout(work, ms);
    return () => clearTimeout(timer);
  },
};
