/** A Worker whose streams have schemas, for the tests of 422. It also tells how long its flushes took. */
import * as z from "zod";
import {
  type Env,
  events,
  type FlushTold,
  handleRequest,
  SubscriptionObject,
  withFlushTimes,
  withSchemas,
} from "../../../../worker/library.ts";

export { SubscriptionObject };
const Order = z.object({ id: z.string(), total: z.number().min(0) });
/** Takes each value once: as if the schema had become narrower since. */
const seen = new Set<string>();
const isNews = (value: unknown): boolean => seen.size < seen.add(JSON.stringify(value)).size;
const flushes: FlushTold[] = [];
const Judging = withSchemas({
  "orders/*": Order,
  "notes/**": z.string().min(3),
  "events/*": events({ added: z.object({ id: z.string() }) }),
  "slow/*": z.number().refine(async (n) => n >= 0, "not below zero"),
  "changed/*": z.unknown().refine(isNews, "not any more"),
  "versions/*": { schema: Order, version: 2, upcast: { 1: (total) => ({ id: "?", total }) } },
});
export const LogObject = withFlushTimes((flush) => void flushes.push(flush), Judging);
export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    return new URL(request.url).pathname === "/flushes"
      ? Response.json(flushes.splice(0))
      : handleRequest(request, env);
  },
};
