/** A Worker whose streams have schemas, for the tests of 422. */
import * as z from "zod";
import { events, handleRequest, SubscriptionObject, withSchemas } from "../../../../worker/library.ts";

export { SubscriptionObject };
const Order = z.object({ id: z.string(), total: z.number().min(0) });
export const LogObject = withSchemas({
  "orders/*": Order,
  "notes/**": z.string().min(3),
  "events/*": events({ added: z.object({ id: z.string() }) }),
  "slow/*": z.number().refine(async (n) => n >= 0, "not below zero"),
  "versions/*": { schema: Order, version: 2, upcast: { 1: (total) => ({ id: "?", total }) } },
});
export default { fetch: handleRequest };
