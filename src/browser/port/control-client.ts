/**
 * Control calls: rare, small, and over Comlink, on a port of their own. Loaded when the first one is made.
 *
 *   page    controlOver(port) ── Comlink ──▶ offerControl(port)   worker
 *
 * Each result comes in an envelope, because Comlink would lose an error's code.
 */
import { expose, wrap } from "comlink";
import { TidemarkError, type WireError } from "../../errors.ts";
import type { LogApi } from "../../log/types.ts";
import { READ_OPTIONS } from "../../topic/options.ts";
import type { TopicState } from "../api.ts";
import { explainSeek, exportSegment } from "../tools/inspect.ts";
import type { PortClient } from "./port-client.ts";
import type { Topics } from "../worker/topics.ts";

/** What control needs of the worker's host. */
export interface Controlled {
  readonly topics: Pick<Topics, "names" | "readable" | "settings" | "stored">;
}

const TOOLS = { explainSeek, exportSegment };

class HostControl {
  readonly #host: Controlled;

  constructor(host: Controlled) {
    this.#host = host;
  }

  async topics(): Promise<readonly string[]> {
    return this.#host.topics.names();
  }

  // `born`: of the topic that is meant (topics.ts). A later one of its name is not trimmed, nor shown, in its place.

  async state(topic: string, born: number | undefined): Promise<TopicState> {
    const { log } = await this.#host.topics.readable(topic, born);
    const settings = this.#host.topics.settings[topic] ?? {};
    const { logStartOffset, highWatermark, logEndOffset, leaderEpoch } = log;
    const recovery = { ...log.recovery, log: topic };
    return {
      name: topic,
      settings,
      logStartOffset,
      highWatermark,
      logEndOffset,
      leaderEpoch,
      segments: log.segments(),
      quarantined: log.quarantined(),
      recovery,
    };
  }

  async upkeep(
    topic: string,
    born: number | undefined,
    work: "trim" | "roll" | "clean",
    offset?: number,
  ): Promise<unknown> {
    if (work === "trim") READ_OPTIONS.to("offset", offset);
    const { log } = await this.#host.topics.readable(topic, born);
    return log[work](offset!);
  }

  async look(topic: string, born: number | undefined, tool: keyof typeof TOOLS, what: unknown): Promise<unknown> {
    const { log } = await this.#host.topics.readable(topic, born);
    const store = await this.#host.topics.stored(topic);
    if (store) return TOOLS[tool](store, what as never, log);
    if (tool === "explainSeek") return undefined;
    throw new TidemarkError("INVALID_ARGUMENT", "no segment begins there: the topic has no records", {
      ...(what as { readonly baseOffset: number }),
    });
  }
}

export type Control = Pick<HostControl, "topics" | "state" | "upkeep" | "look">;
type Outcome = { readonly ok: unknown } | { readonly error: WireError };
type Call = (...args: unknown[]) => Promise<unknown>;

/** An object whose every method is `call` with the method's name; except `then`, which would make a promise of it. */
const methods = (call: (method: string) => Call): Record<string, Call> =>
  new Proxy({}, { get: (_, method) => (method === "then" ? undefined : call(String(method))) });

/** In the worker: serves control calls on `port`. */
export function offerControl(port: MessagePort, host: Controlled): void {
  const control = new HostControl(host) as unknown as Record<string, Call>;
  const enveloped = methods((method) => async (...args): Promise<Outcome> => {
    try {
      return { ok: await control[method]!(...args) };
    } catch (thrown) {
      return { error: TidemarkError.from(thrown).toWire() };
    }
  });
  expose(enveloped, port);
}

/** In the page. A call does not notice by itself that the worker is gone: its connection does. */
export async function controlOver(connection: PortClient): Promise<Control> {
  const { port1, port2 } = new MessageChannel();
  const [ours, port] = connection.pair?.() ?? [port1, port2];
  await connection.call({ op: "control", port });
  const remote = wrap<Record<string, Call>>(ours);
  return methods((method) => async (...args) => {
    const outcome = (await Promise.race([remote[method]!(...args), connection.failed])) as Outcome;
    if ("error" in outcome) throw TidemarkError.fromWire(outcome.error);
    return outcome.ok;
  }) as unknown as Control;
}
