/**
 * Headers that Worker and objects say to each other. A client's header of these names never reaches an object: the
 * router passes on a list of names, and these are not among them.
 */

/** The path of a stream's object, told by the router: a client's header of these names never reaches an object. */
export const PATH_HEADER = "x-tidemark-path";
export const TENANT_HEADER = "x-tidemark-tenant";
/** Upgrade: offset that the watcher knows already. */
export const WATCH_HEADER = "x-tidemark-watch";
/** Upgrade: the form in which the watcher takes news (notice.ts). */
export const NEWS_HEADER = "x-tidemark-news";
/** GET: the answer ends at this offset at the latest, also where the log goes on. */
export const UNTIL_HEADER = "x-tidemark-until";
/** GET: the stream's metrics, not its data. */
export const METRICS_HEADER = "x-tidemark-metrics";

/** A read whose answer may be as long as it likes: the client's own, of the past. */
export const LONG_HEADER = "x-tidemark-long";

/** GET: the answer also says, in this header, what a text needs to know of the bytes before it (sse-text.ts). */
export const LEAD_HEADER = "x-tidemark-lead";

/** Upgrade: the channel of a client's socket. */
export const SOCKET_HEADER = "x-tidemark-socket";
