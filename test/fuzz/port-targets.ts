/**
 * Hostile messages over a real data port: a page against the worker's port server with a real log behind it, and a
 * worker against the page's port client.
 *
 *   page (here) ── any value ──▶ PortServer ── Log ── SegmentStore ── MemoryVolume with a budget of calls
 *               ◀─ answer ──────            a loop that never ends runs out of budget
 *
 * Each numbered request must be answered by a result or by a typed error. A read that waits for data is cancelled.
 */
import { PortClient } from "../../src/browser/port/port-client.ts";
import { PortServer } from "../../src/browser/port/port-server.ts";
import { CREDIT_BYTES, PROTOCOL_VERSION } from "../../src/browser/port/protocol.ts";
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { Random } from "../simulation/prng.ts";
import { BudgetVolume } from "./budget-volume.ts";
import { Mutator } from "./mutate.ts";
import { codeOf, demand, EXPECTED_CODES, Finding, type MakeTarget, type Parts, Tally, type Target } from "./target.ts";
import { show, wildValue } from "./values.ts";

type Port = globalThis.MessagePort;
interface Message {
  readonly id: unknown;
  readonly ok?: unknown;
  readonly error?: { readonly code: string; readonly message: unknown; readonly details: unknown };
}

/** Limit of waiting for an answer. Decompression runs on another thread: it answers some hundred messages later. */
const ROUNDS_MAX = 50_000;

/** Collects unhandled rejections while a target runs. */
class Strays {
  #stray: unknown;
  readonly #note = (thrown: unknown): void => void (this.#stray ??= thrown);

  constructor() {
    process.on("unhandledRejection", this.#note);
  }
  check(input: string): void {
    if (this.#stray !== undefined)
      throw new Finding(`unhandled: ${(this.#stray as Error).stack ?? String(this.#stray)}`, input);
  }
  end(): void {
    process.off("unhandledRejection", this.#note);
  }
}

class ServerTarget implements Target {
  readonly #tally = new Tally();
  readonly #strays = new Strays();
  readonly #random: Random;
  readonly #mutator: Mutator;
  readonly #port: Port;
  readonly #answers = new Map<unknown, Message>();
  #arrived: () => void = () => undefined;
  #id = 0;
  #dropped = 0;
  #failures = 0;

  constructor(
    { kernel, random, corpus }: Parts,
    readonly volume: BudgetVolume,
    readonly log: Log,
  ) {
    this.#random = random;
    this.#mutator = new Mutator(kernel, random, corpus);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1 as Port;
    port1.onmessage = ({ data }: { data: Message }) => {
      if (typeof data.id === "number") this.#answers.set(data.id, data);
      this.#arrived();
    };
    new PortServer(port2 as Port, {
      readable: async (topic) => {
        if (topic !== "t") throw new TidemarkError("UNKNOWN_TOPIC", `topic ${topic} is not open`, { topic });
        return { log, born: 1 };
      },
      writable: async (topic) => {
        if (topic !== "t") throw new TidemarkError("UNKNOWN_TOPIC", `topic ${topic} is not open`, { topic });
        return { log, born: 1 };
      },
      manage: async () => undefined,
      appended: () => undefined,
      failed: () => void this.#failures++,
    });
  }

  #batch(): unknown {
    const random = this.#random;
    if (random.chance(0.15)) return wildValue(random);
    if (random.chance(0.03)) return new Uint8Array(3 * 1024 * 1024);
    if (random.chance(0.5)) return this.#mutator.next().slice();
    this.#mutator.load(random.pick(this.#mutator.good));
    const good = this.#mutator.bytes.slice();
    stampBaseOffset(good, 0);
    return good;
  }

  #message(id: number): unknown {
    const random = this.#random;
    const or = (value: unknown): unknown => (random.chance(0.85) ? value : wildValue(random));
    const some = (name: string, value: unknown): Record<string, unknown> =>
      random.chance(0.9) ? { [name]: or(value) } : {};
    const { logStartOffset: start, logEndOffset: end } = this.log;
    const isolation = random.pick(["committed", "provisional"]);
    switch (random.int(10)) {
      case 0:
      case 1:
      case 2:
        return {
          id,
          op: "append",
          topic: or("t"),
          batch: this.#batch(),
          ...some("acks", random.pick(["accepted", "written", "flushed"])),
          ...some("ifEnd", end),
        };
      case 3:
      case 4:
        return {
          id,
          op: "fetch",
          topic: or("t"),
          from: or(random.chance(0.3) ? end : start + random.int(end - start + 2)),
          ...some("maxBytes", random.int(100_000)),
          ...some("to", end),
          ...some("isolation", isolation),
          ...some("wait", random.chance(0.5)),
          ...some("verify", random.chance(0.5)),
        };
      case 5:
        return {
          id,
          op: "resolve",
          topic: or("t"),
          position: or(random.pick(["earliest", "latest", 5, { last: 3 }, { timestamp: 1_700_000_000_000 }])),
          ...some("isolation", isolation),
        };
      case 6:
        return { id, op: or(random.pick(["ready", "append", "fetch", "resolve"])), ...some("topic", "t") };
      case 7:
        return {
          id,
          op: random.pick(["topic", "control", "close"]),
          ...some("topic", "t"),
          ...some("settings", { retention: wildValue(random) }),
          ...some("port", 5),
        };
      case 8:
        return {
          id: wildValue(random),
          op: random.pick(["append", "fetch", "resolve", "ready", "cancel"]),
          topic: "t",
        };
      default:
        return random.chance(0.5)
          ? wildValue(random)
          : { id, [String(random.pick(["__proto__", "then", "batch", "op"]))]: wildValue(random) };
    }
  }

  /** Resolves when the server has seen every message that was posted before. */
  async #round(): Promise<void> {
    const id = ++this.#id;
    this.#port.postMessage({ id, op: "ready" });
    while (!this.#answers.delete(id)) await new Promise<void>((resolve) => (this.#arrived = resolve));
  }

  async step(): Promise<void> {
    const id = ++this.#id;
    const message = this.#message(id) as { readonly id?: unknown; readonly op?: unknown } | undefined;
    const shown = show(message);
    this.volume.calls = 0;
    this.#port.postMessage(message);
    await this.#round();
    const numbered =
      typeof message === "object" &&
      message !== null &&
      typeof message.id === "number" &&
      Number.isSafeInteger(message.id);
    if (!numbered || message.op === "cancel") this.#dropped++;
    else await this.#answer(message.id as number, shown);
    this.#strays.check(shown);
    if (id % 1000 === 1) await this.log.trim(this.log.highWatermark);
  }

  async #answer(id: number, shown: string): Promise<void> {
    for (let rounds = 0; !this.#answers.has(id); rounds++) {
      demand(rounds < ROUNDS_MAX, "no answer", shown);
      // A read at the end of the log waits for data until it is cancelled.
      if (rounds === 5) this.#port.postMessage({ id, op: "cancel" });
      await this.#round();
    }
    const { ok, error } = this.#answers.get(id)!;
    this.#answers.delete(id);
    if (error === undefined) return this.#tally.add(ok === undefined ? "ok" : `ok ${typeof ok}`);
    demand(EXPECTED_CODES.has(error.code), `answered ${error.code}: ${show(error)}`, shown);
    demand(typeof error.message === "string" && error.message.length < 20_000, "a message of unbounded length", shown);
    this.#tally.add(error.code);
  }

  outcomes(): Record<string, number> {
    return { ...this.#tally.all(), dropped: this.#dropped };
  }
  figures(): Record<string, number> {
    return { toldTheHost: this.#failures, logEndOffset: this.log.logEndOffset };
  }
  end(): void {
    this.#port.close();
    this.#strays.end();
  }
}

export const portServer: MakeTarget = async (parts) => {
  const clock = { now: () => 1_700_000_000_000 };
  const volume = new BudgetVolume({ slotBytes: 64 * 1024, slotsMax: 16 });
  const store = await SegmentStore.open({ volume, kernel: parts.kernel, now: clock.now });
  const log = await Log.open({ store: await store.log("t-0"), kernel: parts.kernel, clock });
  return new ServerTarget(parts, volume, log);
};

/** Hostile messages of a worker to the page's port client: calls settle or wait, and no error is left uncaught. */
class ClientTarget implements Target {
  readonly #tally = new Tally();
  readonly #strays = new Strays();
  readonly #random: Random;

  constructor({ random }: Parts) {
    this.#random = random;
  }

  #message(): unknown {
    const random = this.#random;
    const or = (value: unknown): unknown => (random.chance(0.6) ? value : wildValue(random));
    const id = or(1 + random.int(3));
    switch (random.int(5)) {
      case 0:
        return { hello: or(PROTOCOL_VERSION), creditBytes: or(CREDIT_BYTES) };
      case 1:
        return { id, ok: wildValue(random) };
      case 2:
        return {
          id,
          error: or({
            code: or(random.pick(["CLOSED", "INTERNAL", "toString", "__proto__", "BACKPRESSURE"])),
            message: or("text"),
            details: or({}),
          }),
        };
      case 3:
        return { id, ...(random.chance(0.5) && { hello: wildValue(random) }) };
      default:
        return wildValue(random);
    }
  }

  async step(): Promise<void> {
    const random = this.#random;
    const { port1, port2 } = new MessageChannel();
    const client = new PortClient(port1 as Port);
    const receive = port1.onmessage as (event: { data: unknown }) => void;
    const messages = [
      { hello: PROTOCOL_VERSION, creditBytes: CREDIT_BYTES },
      ...Array.from({ length: 1 + random.int(5) }, () => this.#message()),
    ];
    if (random.chance(0.2)) messages.shift();
    const shown = show(messages);
    const settled: string[] = [];
    const watch = (work: Promise<unknown>): Promise<unknown> =>
      work.then(
        () => settled.push("ok"),
        (thrown: unknown) =>
          settled.push(
            codeOf(
              thrown instanceof TidemarkError && ["INTERNAL", "OUTCOME_UNKNOWN"].includes(thrown.code)
                ? new TidemarkError("CLOSED", "")
                : thrown,
              shown,
            ),
          ),
      );
    const calls = [
      watch(client.append({ topic: "t", batch: new Uint8Array(10) })),
      watch(client.call({ op: "fetch", topic: "t", from: 0 })),
      watch(client.call({ op: "ready" })),
    ];
    try {
      for (const message of messages) receive({ data: structuredClone(message) });
      client.fail(new TidemarkError("CLOSED", "the worker is gone"));
    } catch (thrown) {
      codeOf(thrown, shown);
      throw new Finding(`thrown into the event loop: ${(thrown as Error).stack}`, shown);
    } finally {
      port2.close();
      port1.close();
    }
    // Calls without an answer are settled by the end of the worker.
    await Promise.all(calls);
    for (const name of settled) this.#tally.add(name);
    this.#strays.check(shown);
  }

  outcomes(): Record<string, number> {
    return this.#tally.all();
  }
  end(): void {
    this.#strays.end();
  }
}

export const portClient: MakeTarget = (parts) => new ClientTarget(parts);
