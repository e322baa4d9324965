/** What control calls do where the logs are: topics, their state, upkeep, tools. */
import { TidemarkError } from "../../errors.ts";
import { READ_OPTIONS } from "../../topic/options.ts";
import type { TopicState } from "../api.ts";
import type { Control, FlushTime, Tool } from "../port/envelope.ts";
import { explainSeek, exportSegment } from "../tools/inspect.ts";
import { type NamedRecord, statusOf } from "../tools/find-record.ts";
import type { AbsentLog } from "./absent-log.ts";
import { endFlushes, nextFlushes } from "./flush-times.ts";
import { takeSegments, type Taking } from "./take-segments.ts";
import type { Topics } from "./topics.ts";

/** What control calls need of their host. */
export interface Controlled {
  readonly topics: Pick<Topics, "names" | "readable" | "settings" | "stored" | "writable">;
  /** Also of topics that are synced. */
  readonly readable: Topics["readable"];
}

/** No topic may have this name; what stands in for its log says where it would be stored. */
const NO_TOPIC = "__";
const TOOLS = { explainSeek, exportSegment };

export class HostControl implements Control {
  readonly #topics: Controlled["topics"];

  readonly #readable: Controlled["readable"];

  constructor({ topics, readable }: Controlled) {
    this.#topics = topics;
    this.#readable = readable;
  }

  async topics(): Promise<readonly string[]> {
    return this.#topics.names();
  }

  async state(topic: string, born: number | undefined): Promise<TopicState> {
    const { log } = await this.#readable(topic, born);
    // A topic may be named like a member that every object has.
    const settings = new Map(Object.entries(this.#topics.settings)).get(topic) ?? {};
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
    const { log } = await this.#readable(topic, born);
    return log[work](offset!);
  }

  async flushes(observer: string, isWanted: boolean): Promise<readonly FlushTime[]> {
    if (!isWanted) {
      endFlushes(observer);
      return [];
    }
    const { log } = await this.#topics.readable(NO_TOPIC);
    return nextFlushes((log as AbsentLog).store, observer);
  }

  async look(topic: string, born: number | undefined, tool: Tool, what: unknown): Promise<unknown> {
    const { log } = await this.#readable(topic, born);
    if (tool === "importSegments") return takeSegments(this.#topics, topic, born, { ...(what as Taking), into: log });
    const store = await this.#topics.stored(topic);
    if (tool === "statusOf") return statusOf(what as NamedRecord, log, store);
    if (store) return TOOLS[tool](store, what as never, log);
    if (tool === "explainSeek") return undefined;
    throw new TidemarkError("INVALID_ARGUMENT", "no segment begins there: the topic has no records", {
      ...(what as { readonly baseOffset: number }),
    });
  }
}
