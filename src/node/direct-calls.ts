/** A topic's calls where the logs are in the same process: what a page sends to its worker (src/browser/port). */
import { TidemarkError } from "../errors.ts";
import type { TopicCalls } from "../browser/page/browser-topic.ts";
import type { Control } from "../browser/port/envelope.ts";
import type { Appended, AppendRequest, Request } from "../browser/port/protocol.ts";
import { checkedCall } from "../browser/tools/check-calls.ts";
import { HostControl } from "../browser/worker/host-control.ts";
import type { LogApi, StartPosition } from "../log/types.ts";
import { LENT_BYTES } from "../record/batch-builder.ts";
import { withDefaults } from "../log/limits.ts";
import { outboxName } from "../sync/log-names.ts";
import { logSettingsOf } from "../topic/settings.ts";
import type { StoredTide } from "./stored-tide.ts";

type Methods = Record<keyof Control, (...args: unknown[]) => Promise<unknown>>;

/** A folder may be the copy of a browser's files. */
export const syncedError = (topic: string): TidemarkError =>
  new TidemarkError(
    "INVALID_ARGUMENT",
    `the topic ${topic} is synced with an edge: open it in a browser, Node has no sync`,
    { topic, reason: "synced" },
  );

export class DirectCalls implements TopicCalls {
  readonly #tide: StoredTide;
  readonly #control: HostControl & Methods;

  constructor(tide: StoredTide) {
    this.#tide = tide;
    const readable = (topic: string, born?: number) => this.#readable(topic, born);
    this.#control = new HostControl({ topics: tide.topics, readable }) as HostControl & Methods;
  }

  async #plain(topic: string): Promise<void> {
    if ((await this.#tide.bornOf(outboxName(topic))) !== undefined) throw syncedError(topic);
  }

  async #readable(topic: string, born?: number): Promise<{ log: LogApi; born: number | undefined }> {
    await this.#plain(topic);
    return this.#tide.topics.readable(topic, born);
  }

  /** Errors of the logs as the caller knows them. A store that failed is opened again meanwhile. */
  async #told<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (thrown) {
      const error = TidemarkError.from(thrown);
      if (error.kind === "reopen" || error.details["poisoned"]) this.#tide.failed(error);
      throw error;
    }
  }

  append(request: Omit<AppendRequest, "op">): Promise<Appended> {
    return this.#told(this.#append(request));
  }

  async #append({ topic, batch, born: expected, ...options }: Omit<AppendRequest, "op">): Promise<Appended> {
    await this.#plain(topic);
    const { log, born } = await this.#tide.topics.writable(topic, expected, options.ifEnd);
    const result = await log.append(batch, options);
    this.#tide.appended(topic);
    // The log keeps no batch that is flushed.
    const isDone = result.acks === "flushed" && batch.buffer.byteLength >= LENT_BYTES;
    return { ...result, born, ...(isDone && { memory: batch.buffer as ArrayBuffer }) };
  }

  async call<T>(request: Request, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    return (await this.#until(this.#told(this.#run(request, signal)), signal)) as T;
  }

  /** A read that its reader has left ends at once, with the reader's reason. */
  #until<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (!signal) return work;
    return new Promise((resolve, reject) => {
      const left = (): void => reject(signal.reason);
      signal.addEventListener("abort", left, { once: true });
      work.then(resolve, reject).finally(() => signal.removeEventListener("abort", left));
    });
  }

  async #run(request: Request, signal: AbortSignal | undefined): Promise<unknown> {
    switch (request.op) {
      case "fetch": {
        const { log, born } = await this.#readable(request.topic, request.born);
        return { ...(await log.fetch(request.from, { ...request, signal })), born };
      }
      case "resolve": {
        const { log, born } = await this.#readable(request.topic, request.born);
        return { offset: await log.resolve(request.position as StartPosition, request.isolation), born };
      }
      case "topic":
        await this.#plain(request.topic);
        // Checked before they are kept, so that invalid settings leave nothing behind.
        withDefaults(logSettingsOf(request.settings ?? {}));
        return this.#tide.topics.ask(request);
      case "delete":
        await this.#plain(request.topic);
        return this.#tide.topics.delete(request.topic, request.born);
      case "ready":
        return this.#tide.ready();
      case "close":
        return this.#tide.close();
      default:
        throw new TidemarkError("INTERNAL", request.op);
    }
  }

  async control(method: keyof Control, ...args: unknown[]): Promise<unknown> {
    const [topic, born, what, given] = args;
    return this.#told(this.#control[method](topic, born, what, checkedCall(what, given)));
  }
}
