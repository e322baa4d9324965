/** A stream of text at the edge without any setting, for tests that open one over Node's SQLite. */
import type { StreamConfig } from "../../worker/stream/stream-config.ts";

export const STREAM_CONFIG: StreamConfig = {
  id: "0",
  path: "a",
  tenant: "t",
  watched: false,
  contentType: "text/plain",
  ttl: undefined,
  expiresAt: undefined,
  fork: undefined,
  closed: false,
  closedBy: undefined,
  deleted: false,
  releasing: false,
  touchedAt: 0,
};
