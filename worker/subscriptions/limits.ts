/**
 * How much one tenant may subscribe to. A subscription is one row with its configuration, and the tails of all its
 * streams as the last wake named them. The platform allows rows of 2 MB, and both parts name every stream once.
 */
import { textEncoder } from "../../src/record/bytes.ts";
import { EdgeError } from "../errors.ts";

export const SUBSCRIPTIONS_MAX = 1_000;
export const LINKS_MAX = 1_000;
export const LINK_BYTES_MAX = 768 * 1024;
/** Bytes in that row in addition to a path: quotes, a comma, its offset. */
const OFFSET_BYTES = 24;

const bytesOf = (path: string): number => textEncoder.encode(JSON.stringify(path)).length + OFFSET_BYTES;

export function checkSubscriptions(present: number): void {
  if (present < SUBSCRIPTIONS_MAX) return;
  const message =
    `the tenant has ${present} subscriptions, and may have ${SUBSCRIPTIONS_MAX}: delete one, or add ` +
    "streams to one by POST …/streams";
  throw new EdgeError("LIMIT_EXCEEDED", message, { subscriptions: present, subscriptionsMax: SUBSCRIPTIONS_MAX });
}

/** Checks all streams that a subscription would be linked to. Throws LIMIT_EXCEEDED. */
export function checkLinks(paths: ReadonlySet<string>): void {
  const whatToDo = "divide them among several subscriptions, by narrower patterns or by name";
  if (paths.size > LINKS_MAX) {
    const message = `the subscription would have ${paths.size} streams, and may have ${LINKS_MAX}: ${whatToDo}`;
    throw new EdgeError("LIMIT_EXCEEDED", message, { streams: paths.size, streamsMax: LINKS_MAX });
  }
  let bytes = 0;
  for (const path of paths) bytes += bytesOf(path);
  if (bytes <= LINK_BYTES_MAX) return;
  const message =
    `the paths of the subscription's ${paths.size} streams would take ${bytes} bytes, and may take ` +
    `${LINK_BYTES_MAX}: ${whatToDo}`;
  throw new EdgeError("LIMIT_EXCEEDED", message, { streams: paths.size, bytes, bytesMax: LINK_BYTES_MAX });
}
