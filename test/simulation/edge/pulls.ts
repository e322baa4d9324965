/**
 * A pull-wake subscription beside the webhook's, and the workers that claim its wakes: they acknowledge, end, release,
 * fall silent, or come back with the token of a wake that is over, and their calls are cut.
 *
 *   claim ──▶ held until its lease is over ──┬─ ack: the cursor goes on, the lease begins anew
 *                                            ├─ done, release: over
 *                                            └─ nothing: after the lease somebody else is woken
 *
 * Only one worker holds a wake. The cursor is what workers have acknowledged, and never goes back. In the end whoever
 * waits has been told, and everything can be acknowledged.
 */
import { Random } from "../prng.ts";
import { numberIn, textOf } from "./answers.ts";
import { bytesOf, type Core, offsetText, PATHS, urlOf } from "./core.ts";
import type { Answer } from "./platform.ts";

const TARGET = "/v1/stream/__ds/subscriptions/pulls";
/** It is none of the model's streams: only this file looks at it. */
export const WAKES = "wakes";
const LEASE_MS = 5_000;
const CONFIG = { type: "pull-wake", wake_stream: WAKES, streams: PATHS, lease_ttl_ms: LEASE_MS };
const JSON_TYPE = { "content-type": "application/json" };

interface Link {
  /** The path and the id of the stream there. */
  readonly key: string;
  readonly path: string;
  readonly acked: number;
  readonly tail: number;
}
interface Claim {
  readonly wake_id: string;
  readonly generation: number;
  readonly token: string;
  readonly streams: readonly { path: string; acked_offset: string; tail_offset: string; has_pending: boolean }[];
}
/** A claim that a worker knows of. `links`: as they were then. */
interface Held {
  readonly claim: Claim;
  readonly links: readonly Link[];
  until: number;
}
interface Stood {
  acked: number;
  /** The offset up to which a worker has acknowledged, or may have: its answer was cut off. */
  most: number;
}

export class Pulls {
  readonly #of: Core;
  readonly #random: Random;
  #isThere = false;
  #isGood = false;
  /** The newest claim that nobody has ended. */
  #held: Held | undefined;
  /** The object was cut or has slept since: the claim may be another's, whose answer was lost. */
  #isUnsure = false;
  readonly #over: Held[] = [];
  #generation = 0;
  readonly #stood = new Map<string, Stood>();

  constructor(of: Core) {
    this.#of = of;
    this.#random = new Random(of.seed, 4);
  }

  async subscribe(): Promise<void> {
    const of = this.#of;
    if (!this.#isThere) {
      of.platform.subscriptions.spare();
      const made = await of.ask("PUT", urlOf(WAKES), JSON_TYPE);
      of.status(made, [200, 201], "PUT of the wake stream");
    }
    const [answer, wasCut] = await this.#struck("PUT", TARGET, CONFIG);
    if (!wasCut) of.status(answer, this.#isThere ? 200 : 201, "PUT of a pull-wake subscription");
    else if (answer.status === 503) of.status(await this.#call("PUT", TARGET, CONFIG), [200, 201], "the same again");
    this.#isThere = true;
    this.look();
    of.count("pull subscribed");
  }

  #call(method: string, target: string, body: object, token?: string): Promise<Answer> {
    const headers = { ...JSON_TYPE, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
    return this.#of.ask(method, target, headers, bytesOf(JSON.stringify(body)));
  }

  /** A call during which the subscriptions' object may be cut. */
  async #struck(method: string, target: string, body: object, token?: string): Promise<[Answer, boolean]> {
    const { subscriptions } = this.#of.platform;
    subscriptions.spare();
    const { cuts } = subscriptions;
    if (!this.#isGood && this.#random.chance(0.25)) subscriptions.commitsLeft = this.#random.int(4);
    const answer = await this.#call(method, target, body, token);
    subscriptions.spare();
    return [answer, subscriptions.cuts > cuts];
  }

  #rows(query: string) {
    return this.#of.platform.subscriptions.rows(query);
  }

  #links(): Link[] {
    return this.#rows(
      "SELECT link.path AS path, acked, id, tail FROM link JOIN identity USING (path) JOIN stream USING (path) " +
        "WHERE subscription = 'pulls'",
    ).map(({ path, acked, id, tail }) => ({
      key: `${String(path)} ${String(id)}`,
      path: String(path),
      acked: Number(acked),
      tail: Number(tail),
    }));
  }

  #state(): { readonly phase: string; readonly generation: number } {
    const [row] = this.#rows("SELECT state FROM subscription WHERE id = 'pulls'");
    return JSON.parse(String(row!["state"])) as { phase: string; generation: number };
  }

  look(): void {
    if (!this.#isThere) return;
    for (const { key, acked } of this.#links()) {
      const stood = this.#stood.get(key);
      if (!stood) this.#stood.set(key, { acked, most: acked });
      else if (acked < stood.acked)
        this.#of.fail(`pull: the cursor of ${key} went from ${stood.acked} back to ${acked}`);
      else if (acked > stood.most) this.#of.fail(`pull: the cursor of ${key} is ${acked}, acknowledged ${stood.most}`);
      else stood.acked = acked;
    }
  }

  /** One call of a worker. */
  async work(random: Random): Promise<void> {
    if (!this.#isThere) return;
    this.look();
    const old = random.chance(0.15) ? random.pick(this.#over) : undefined;
    if (old) return this.#late(old, random);
    if (this.#held && random.chance(0.75)) {
      if (random.chance(0.1)) return this.#stranger(this.#held);
      if (random.chance(0.2)) return this.#release(this.#held);
      return this.#ack(this.#held, random);
    }
    await this.#claim();
  }

  /** True while nobody else can have taken the claim over: its lease lasts, and its streams are the same ones. */
  #isSure({ until, links }: Held): boolean {
    const now = new Set(this.#links().map(({ key }) => key));
    return !this.#isUnsure && this.#of.now < until && links.every(({ key }) => now.has(key));
  }

  async #claim(): Promise<void> {
    const of = this.#of;
    const held = this.#held;
    const isHeld = held && this.#isSure(held);
    const mayBeHeld = this.#isUnsure || held !== undefined;
    const [answer, wasCut] = await this.#struck("POST", `${TARGET}/claim`, { worker: `w${this.#random.int(3)}` });
    if (wasCut) this.#isUnsure = true;
    if (answer.status === 503 && wasCut) return of.count("pull cut claim");
    if (answer.status === 409) {
      if (!mayBeHeld && !wasCut) of.fail("pull: ALREADY_CLAIMED, and nobody holds the lease");
      if (held && !this.#isUnsure && of.now >= held.until) of.fail("pull: ALREADY_CLAIMED after the lease was over");
      return of.count("pull claimed already");
    }
    of.status(answer, 200, "claim");
    if (isHeld && !wasCut) of.fail(`pull: claimed while wake ${held.claim.generation} is held`);
    const claim = JSON.parse(textOf(answer.bytes)) as Claim;
    if (claim.generation <= this.#generation) of.fail(`pull: wake ${claim.generation} behind ${this.#generation}`);
    this.#generation = claim.generation;
    if (held) this.#over.push(held);
    this.#held = { claim, links: this.#links(), until: of.now + LEASE_MS };
    this.#isUnsure = false;
    this.look();
    for (const { path, acked_offset, tail_offset, has_pending } of claim.streams) {
      const [acked, tail] = [numberIn(acked_offset), numberIn(tail_offset)];
      if (has_pending !== tail > acked) of.fail(`pull: ${path} has ${acked} of ${tail}, pending ${has_pending}`);
      const stream = of.model.at.get(path);
      if (stream && !stream.deleted && tail > stream.end + 1)
        of.fail(`pull: ${path} ends at ${stream.end}, not ${tail}`);
    }
    of.count("pull claimed");
  }

  async #ack(held: Held, random: Random): Promise<void> {
    const of = this.#of;
    const isSure = this.#isSure(held);
    const links = this.#links().filter(({ path }) => held.claim.streams.some((each) => each.path === path));
    const some = links.filter(() => random.chance(0.7));
    const acks = some.map(({ path, tail }) => ({ stream: path, offset: offsetText(random.between(0, tail)) }));
    const isDone = random.chance(0.4);
    const before = new Map(some.map((each, i) => [each.key, numberIn(acks[i]!.offset)]));
    const [answer, wasCut] = await this.#wake("ack", held, { acks, ...(isDone && { done: true }) });
    if (answer.status === 409) {
      if (isSure && !wasCut) of.fail(`pull: wake ${held.claim.generation} is fenced, and nobody has taken it over`);
      this.#end(held);
      return of.count("pull fenced");
    }
    if (!(wasCut && answer.status === 503)) of.status(answer, 200, "ack");
    for (const [key, offset] of before) {
      const stood = this.#stood.get(key);
      if (stood) stood.most = Math.max(stood.most, offset);
    }
    if (answer.status === 503) return void (this.#isUnsure = true);
    held.until = of.now + LEASE_MS;
    if (!wasCut)
      for (const { key, acked } of this.#links())
        if (acked < (before.get(key) ?? 0)) of.fail(`pull: ${key} stands at ${acked}, acknowledged ${before.get(key)}`);
    if (isDone) this.#end(held);
    of.count(isDone ? "pull done" : "pull acked");
  }

  async #release(held: Held): Promise<void> {
    const of = this.#of;
    const isSure = this.#isSure(held);
    const [answer, wasCut] = await this.#wake("release", held, {});
    if (answer.status === 503 && wasCut) return void (this.#isUnsure = true);
    if (answer.status === 409 && isSure && !wasCut) of.fail("pull: a release is fenced, and nobody has taken it over");
    of.status(answer, [204, 409], "release");
    this.#end(held);
    of.count("pull released");
  }

  #wake(call: string, { claim }: Held, body: object, token = claim.token): Promise<[Answer, boolean]> {
    const { wake_id, generation } = claim;
    return this.#struck("POST", `${TARGET}/${call}`, { wake_id, generation, ...body }, token);
  }

  #end(held: Held): void {
    this.#over.push(held);
    if (this.#held === held) this.#held = undefined;
  }

  /** A worker whose wake is over does not know that. */
  async #late(held: Held, random: Random): Promise<void> {
    const acks = this.#links().map(({ path, tail }) => ({ stream: path, offset: offsetText(tail) }));
    const call = random.pick(["ack", "release"]);
    const [answer, wasCut] = await this.#wake(call, held, call === "ack" ? { acks } : {});
    if (!(wasCut && answer.status === 503)) this.#of.status(answer, 409, `${call} of a wake that is over`);
    this.#of.count("pull late");
  }

  /** Somebody has a token, but not that of the wake. */
  async #stranger(held: Held): Promise<void> {
    const { token } = held.claim;
    const other = `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`;
    const [answer, wasCut] = await this.#wake("ack", held, { acks: [], done: true }, other);
    if (!(wasCut && answer.status === 503)) this.#of.status(answer, [401, 409], "ack by a stranger");
    this.#of.count("pull stranger");
  }

  /** The generations of all wakes that were told, in their order. */
  async #told(): Promise<number[]> {
    const found: number[] = [];
    for (let at = offsetText(0); ;) {
      const page = await this.#of.ask("GET", `${urlOf(WAKES)}?offset=${at}`, { accept: "application/json" });
      this.#of.status(page, 200, "GET of the wake stream");
      found.push(...(JSON.parse(textOf(page.bytes)) as { generation: number }[]).map(({ generation }) => generation));
      if (page.headers.get("stream-up-to-date") === "true") return found;
      at = page.headers.get("stream-next-offset")!;
    }
  }

  /** Nothing fails any more. Whoever could work has been told, and then somebody does all the work. */
  async all(): Promise<void> {
    if (!this.#isThere) return;
    const of = this.#of;
    this.#isGood = true;
    of.platform.subscriptions.spare();
    this.look();
    const isPending = this.#links().some(({ acked, tail }) => tail > acked);
    const { phase, generation } = this.#state();
    if (isPending && phase !== "waking") of.fail(`pull: records wait, and the subscription is ${phase}`);
    const told = await this.#told();
    const last = told.at(-1) ?? 0;
    if (isPending && last !== generation) of.fail(`pull: wake ${generation} was not told; the last one was ${last}`);
    this.#held = undefined;
    this.#isUnsure = true;
    await this.#claim();
    const held = this.#held as Held | undefined;
    if (!held) return of.fail("pull: nobody holds the lease, and no wake can be claimed");
    const acks = this.#links().map(({ key, path, tail }) => {
      this.#stood.get(key)!.most = tail;
      return { stream: path, offset: offsetText(tail) };
    });
    const { wake_id, generation: of_ } = held.claim;
    const done = await this.#call(
      "POST",
      `${TARGET}/ack`,
      { wake_id, generation: of_, acks, done: true },
      held.claim.token,
    );
    of.status(done, 200, "the last ack");
    this.look();
    for (const [path, stream] of of.model.at) {
      if (stream.deleted || stream.ends[0] <= of.now + 1_000) continue;
      const acked = this.#links().find((each) => each.path === path)?.acked;
      if (acked !== stream.end) of.fail(`pull: the cursor of ${path} is ${acked}, and it ends at ${stream.end}`);
    }
    of.count("pull all is done");
  }
}
