/**
 * Headers that only the Worker and objects send to each other. A client's header of such a name never reaches an
 * object: the router passes on a list of names, and these are not in it.
 */

/** The path of the object's stream, set by the router. */
export const PATH_HEADER = "x-tidemark-path";
export const TENANT_HEADER = "x-tidemark-tenant";
/** Upgrade: the offset that the watcher knows already. */
export const WATCH_HEADER = "x-tidemark-watch";
/** Upgrade: the form in which the watcher wants the records of a notice (notice.ts). */
export const NEWS_HEADER = "x-tidemark-news";
/**
 * Upgrade, of a read that may wait: if it finds nothing, the reader watches from there on. The answer of the upgrade
 * has the headers of that read then. If it finds records, it is answered as without an upgrade.
 */
export const WAIT_HEADER = "x-tidemark-wait";
/** GET: the answer ends at this offset at the latest, even if the log goes on. */
export const UNTIL_HEADER = "x-tidemark-until";
/** GET: asks for the stream's metrics instead of its data. */
export const METRICS_HEADER = "x-tidemark-metrics";

/** GET: the answer may be of any length, because it goes to a client and holds old records only. */
export const LONG_HEADER = "x-tidemark-long";

/** GET: the answer also has this header, with what the reader of a text needs of the bytes before it (sse-text.ts). */
export const LEAD_HEADER = "x-tidemark-lead";
/**
 * In the answer to such a GET: which stream it is of. Another one may stand at its path later. Upgrade of a watcher:
 * the one that it reads; another one refuses it.
 */
export const STREAM_HEADER = "x-tidemark-stream";

/** Upgrade: the channel of a client's socket. */
export const SOCKET_HEADER = "x-tidemark-socket";

/** POST: the body is one frame. The owner of the token, and for a push the outbox and its standing. */
export const FRAME_HEADER = "x-tidemark-frame";
/** POST: the body begins an import of segments, or is a piece of one. The router has asked for the right `admin`. */
export const IMPORT_HEADER = "x-tidemark-import";
/** GET: the answer also says where the log begins and ends, and its life. */
export const TIDE_ASKED_HEADER = "x-tidemark-tide";

export const untilOf = (headers: Headers): number => Number(headers.get(UNTIL_HEADER) ?? Infinity);
