/** A Worker whose streams have schemas, for the tests of 422. */
import * as z from "zod";
import { events, handleRequest, SubscriptionObject, withSchemas } from "../../../../worker/library.ts";

export { SubscriptionObject };
const Order = z.object({ id: z.string(), total: z.number().min(0) });
/** Takes each value once: as if the schema had become narrower since. */
const seen = new Set<string>();
const isNews = (value: unknown): boolean => seen.size < seen.add(JSON.stringify(value)).size;
export const LogObject = withSchemas({
  "orders/*": Order,
  "notes/**": z.string().min(3),
  "events/*": events({ added: z.object({ id: z.string() }) }),
  "slow/*": z.number().refine(async (n) => n >= 0, "not below zero"),
  "changed/*": z.unknown().refine(isNews, "not any more"),
  "versions/*": { schema: Order, version: 2, upcast: { 1: (total) => ({ id: "?", total }) } },
});
export default { fetch: handleRequest };
