/**
 * The page's side of control calls: rare, small, and over Comlink on a port of their own. Loaded by the first such
 * call.
 */
import { wrap } from "comlink";
import { TidemarkError } from "../../errors.ts";
import { checkedCall } from "../tools/check-calls.ts";
import { type Call, type Control, methods, type Outcome } from "./envelope.ts";
import type { PortOrName, Request } from "./protocol.ts";

/** What control calls need of the page's connection to the worker (port-client.ts). */
export interface Connected {
  readonly pair: (() => readonly [MessagePort, PortOrName]) | undefined;
  /** Rejects when the worker is gone. */
  readonly failed: Promise<never>;
  call(request: Request): Promise<unknown>;
}

/** A call does not notice by itself that the worker is gone; its connection does. */
export async function controlOver(connection: Connected): Promise<Control> {
  const { port1, port2 } = new MessageChannel();
  const [ours, port] = connection.pair?.() ?? [port1, port2];
  await connection.call({ op: "control", port });
  const remote = wrap<Record<string, Call>>(ours);
  return methods((method) => async (topic, born, what, given) => {
    const sent = checkedCall(what, given);
    const outcome = (await Promise.race([remote[method]!(topic, born, what, sent), connection.failed])) as Outcome;
    if ("error" in outcome) throw TidemarkError.fromWire(outcome.error);
    return outcome.ok;
  }) as Record<string, Call> & Control;
}
