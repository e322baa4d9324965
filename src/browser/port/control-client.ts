/**
 * The page's side of control calls: rare, small, and over Comlink on a port of their own. Loaded by the first such
 * call.
 */
import { wrap } from "comlink";
import { TidemarkError } from "../../errors.ts";
import { checkOptions, integer } from "../../topic/check.ts";
import { checkTarget } from "../../topic/options.ts";
import { parsedId } from "../tools/find-record.ts";
import { type Call, type Control, methods, type Outcome } from "./envelope.ts";
import type { PortOrName, Request } from "./protocol.ts";

/** What control calls need of the page's connection to the worker (port-client.ts). */
export interface Connected {
  readonly pair: (() => readonly [MessagePort, PortOrName]) | undefined;
  /** Rejects when the worker is gone. */
  readonly failed: Promise<never>;
  call(request: Request): Promise<unknown>;
}

const anOffset = integer(0);
const EXPORT_OPTIONS = { leaderEpoch: integer(0, 2 ** 31 - 1) };

/** Checks what the application gave, here in the page: a value that can't be sent is refused by its name, too. */
const CHECKS: Readonly<Record<string, (given: unknown) => unknown>> = {
  trim(offset) {
    anOffset("offset", offset);
    return offset;
  },
  explainSeek(target) {
    checkTarget("target", target);
    return target;
  },
  exportSegment(given) {
    const { baseOffset, options = {} } = given as { baseOffset: unknown; options?: { leaderEpoch?: number } };
    anOffset("baseOffset", baseOffset);
    checkOptions("exportSegment()", options, EXPORT_OPTIONS);
    return { baseOffset, leaderEpoch: options.leaderEpoch };
  },
  statusOf: parsedId,
};

/** A call does not notice by itself that the worker is gone; its connection does. */
export async function controlOver(connection: Connected): Promise<Control> {
  const { port1, port2 } = new MessageChannel();
  const [ours, port] = connection.pair?.() ?? [port1, port2];
  await connection.call({ op: "control", port });
  const remote = wrap<Record<string, Call>>(ours);
  return methods((method) => async (topic, born, what, given) => {
    const sent = CHECKS[String(what)]?.(given) ?? given;
    const outcome = (await Promise.race([remote[method]!(topic, born, what, sent), connection.failed])) as Outcome;
    if ("error" in outcome) throw TidemarkError.fromWire(outcome.error);
    return outcome.ok;
  }) as Record<string, Call> & Control;
}
