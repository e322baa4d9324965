/**
 * The worker's side of control calls (envelope.ts): topics, their state, upkeep, tools. Loaded by the first call.
 */
import { expose } from "comlink";
import { TidemarkError } from "../../errors.ts";
import { type Call, methods, type Outcome } from "../port/envelope.ts";
import { type Controlled, HostControl } from "./host-control.ts";

/** Serves control calls on `port`. */
export function offerControl(port: MessagePort, host: Controlled): void {
  const control = new HostControl(host) as HostControl & Record<string, Call>;
  const enveloped = methods((method) => async (...args): Promise<Outcome> => {
    try {
      return { ok: await control[method]!(...args) };
    } catch (thrown) {
      return { error: TidemarkError.from(thrown).toWire() };
    }
  });
  expose(enveloped, port);
}
