/**
 * A subscription to all streams, whose webhook fails, is slow, or answers wrongly. What it has acknowledged is what the
 * receiver has said to be done, never goes back, and is all there is in the end.
 */
import { Random } from "../prng.ts";
import { numberIn } from "./answers.ts";
import { bytesOf, type Core } from "./core.ts";

const TARGET = "/v1/stream/__ds/subscriptions/all";
const CONFIG = { type: "webhook", webhook: { url: "http://127.0.0.1:9/hook" }, pattern: "**" };

interface Delivery {
  readonly generation: number;
  readonly wake_id: string;
  readonly streams: readonly { path: string; acked_offset: string; tail_offset: string }[];
}
interface Stood {
  /** Where its link began, or what was seen last. */
  acked: number;
  /** The offset up to which the receiver has said that all is done. */
  done: number;
}

export class Webhooks {
  readonly #of: Core;
  readonly #random: Random;
  #isThere = false;
  #isGood = false;
  #generation = 0;
  /** By path and by the id of the stream there. */
  readonly #stood = new Map<string, Stood>();

  constructor(of: Core) {
    this.#of = of;
    this.#random = new Random(of.seed, 3);
    of.platform.receive = (body) => this.#receive(JSON.parse(body) as Delivery);
  }

  async subscribe(): Promise<void> {
    const of = this.#of;
    const { platform } = of;
    if (this.#random.chance(0.4)) platform.subscriptions.commitsLeft = this.#random.int(4);
    const { cuts } = platform.subscriptions;
    const body = bytesOf(JSON.stringify(CONFIG));
    let answer = await of.ask("PUT", TARGET, { "content-type": "application/json" }, body);
    platform.subscriptions.spare();
    if (platform.subscriptions.cuts > cuts) {
      of.status(answer, [200, 201, 503], "struck PUT of a subscription");
      answer = await of.ask("PUT", TARGET, { "content-type": "application/json" }, body);
      of.status(answer, [200, 201], "PUT of a subscription again");
    } else of.status(answer, this.#isThere ? 200 : 201, "PUT of a subscription");
    this.#isThere = true;
    this.look();
    of.count("subscribed");
  }

  /** The subscriptions' object is reset, or sleeps. */
  disturb(random: Random): void {
    const { subscriptions } = this.#of.platform;
    const way = random.weighted({ reset: 2, evict: 1, commit: 2 });
    if (way === "reset") subscriptions.cut();
    else if (way === "evict") subscriptions.evict();
    else subscriptions.commitsLeft = random.int(6);
  }

  #links(): { key: string; path: string; acked: number }[] {
    const { subscriptions } = this.#of.platform;
    return subscriptions
      .rows("SELECT link.path AS path, acked, id FROM link JOIN identity USING (path) WHERE subscription = 'all'")
      .map(({ path, acked, id }) => ({
        key: `${String(path)} ${String(id)}`,
        path: String(path),
        acked: Number(acked),
      }));
  }

  /** Compares what is acknowledged with what was, and with what the receiver has said. */
  look(): void {
    if (!this.#isThere) return;
    for (const { key, acked } of this.#links()) {
      const stood = this.#stood.get(key);
      if (!stood) this.#stood.set(key, { acked, done: acked });
      else if (acked < stood.acked) this.#of.fail(`the cursor of ${key} went from ${stood.acked} back to ${acked}`);
      else if (acked > stood.done)
        this.#of.fail(`the cursor of ${key} is ${acked}, and its receiver has done ${stood.done}`);
      else stood.acked = acked;
    }
  }

  async #receive({ generation, streams }: Delivery): Promise<Response> {
    const of = this.#of;
    if (generation < this.#generation) of.platform.faults.push(`wake ${generation} behind ${this.#generation}`);
    this.#generation = generation;
    const way = this.#isGood
      ? "done"
      : this.#random.weighted({ done: 4, fails: 2, throws: 1, slow: 2, nonsense: 1, taken: 1 });
    of.count(`webhook ${way}`);
    of.trace.push(`  (webhook, wake ${generation}: ${way}, ${streams.map((each) => JSON.stringify(each)).join()})`);
    if (way === "throws") throw new Error("no such host");
    if (way === "fails") return new Response("no", { status: 500 });
    if (way === "slow") await new Promise<void>((wake) => of.platform.time.at(of.now + 4_000, wake));
    if (way === "nonsense") return new Response('{"done":"tru');
    if (way === "taken") return new Response("{}");
    const at = new Map(this.#links().map(({ key, path }) => [path, key]));
    for (const { path, acked_offset, tail_offset } of streams) {
      const key = at.get(path);
      if (key === undefined) continue;
      const stood = this.#stood.get(key) ?? { acked: numberIn(acked_offset), done: 0 };
      this.#stood.set(key, { ...stood, done: Math.max(stood.done, numberIn(tail_offset)) });
    }
    return new Response('{"done":true}');
  }

  /** From now on the receiver does its work. */
  mend(): void {
    this.#isGood = true;
    this.#of.platform.subscriptions.spare();
  }

  /** All records of all streams were told, and done. */
  all(): void {
    if (!this.#isThere) return;
    this.look();
    const acked = new Map(this.#links().map((each) => [each.path, each.acked]));
    for (const [path, stream] of this.#of.model.at) {
      if (stream.deleted || stream.ends[0] <= this.#of.now + 1_000) continue;
      if (acked.get(path) !== stream.end)
        this.#of.fail(`the subscription stands at ${acked.get(path)} of ${path}, which ends at ${stream.end}`);
    }
    this.#of.count("all is acknowledged");
  }
}
