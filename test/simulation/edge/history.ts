/**
 * A history of requests to the edge over a simulated platform, beside a model of what it should hold. Each step draws
 * from a stream of randomness of its own, so that a step can be left out and the others stay what they were.
 */
import { Random } from "../prng.ts";
import { Appending } from "./appending.ts";
import { offsetText, PATHS, urlOf } from "./core.ts";
import { Cuts } from "./cuts.ts";
import { Follows } from "./follows.ts";
import { Imports } from "./imports.ts";
import { Lives } from "./lives.ts";
import { Pulls, WAKES } from "./pulls.ts";
import { Webhooks } from "./webhooks.ts";
import type { Answer } from "./platform.ts";

const STEPS = {
  create: 6,
  append: 22,
  lines: 12,
  batches: 12,
  produce: 10,
  burst: 4,
  close: 2,
  trim: 3,
  fork: 5,
  remove: 3,
  importing: 2,
  struck: 5,
  struckPut: 12,
  struckRemove: 8,
  struckImport: 4,
  read: 45,
  live: 8,
  pass: 8,
  longPass: 3,
  evict: 8,
  reset: 3,
  away: 2,
  list: 1,
  subscribe: 2,
  disturb: 4,
  follow: 6,
  followOn: 16,
  subscribePull: 5,
  pull: 20,
};
type Step = keyof typeof STEPS;

export class History extends Appending {
  readonly #webhooks = new Webhooks(this);
  readonly #pulls = new Pulls(this);
  readonly #follows = new Follows(this);
  readonly #lives = new Lives(this);
  readonly #cuts = new Cuts(this);
  readonly #imports = new Imports(this, this.#cuts);

  async step(id: number): Promise<void> {
    const random = new Random(this.seed, 2, id);
    const kind: Step = id < 2 ? "create" : random.weighted(STEPS);
    this.trace.push(`# ${id} ${kind}`);
    await this[kind](random);
    if (random.chance(0.3)) await this.observeAll();
    this.#webhooks.look();
    this.#pulls.look();
    if (this.platform.faults.length > 0) this.fail(`fault: ${this.platform.faults[0]}`);
  }

  subscribe(): Promise<void> {
    return this.#webhooks.subscribe();
  }
  follow(random: Random): Promise<void> {
    return this.#follows.begin(random);
  }
  followOn(random: Random): Promise<void> {
    return this.#follows.step(random);
  }
  subscribePull(): Promise<void> {
    return this.#pulls.subscribe();
  }
  pull(random: Random): Promise<void> {
    return this.#pulls.work(random);
  }
  async disturb(random: Random): Promise<void> {
    this.#webhooks.disturb(random);
  }

  override async end(): Promise<void> {
    this.#webhooks.mend();
    await this.#follows.all();
    await super.end();
    this.#webhooks.all();
    await this.#pulls.all();
  }

  async trim(random: Random): Promise<void> {
    const stream = await this.some(random);
    if (!stream) return;
    const to = random.chance(0.1) ? stream.end + 1 : random.between(Math.max(0, stream.start - 1), stream.end);
    const answer = await this.ask("POST", urlOf(stream.path), { "tidemark-trim-before": offsetText(to) });
    if (stream.forks.size > 0) {
      this.count("trim held");
      return this.status(answer, 409, "trim of a held stream");
    }
    if (to > stream.end) return this.status(answer, 416, "trim beyond the end");
    this.status(answer, 204, "trim");
    if (to > stream.start) this.count(stream.fork && to < stream.fork.offset ? "trim below fork point" : "trim");
    stream.trim(to);
    stream.stale = [];
    stream.touchedTo = this.now;
    this.reads.overtaken(stream, answer);
    this.header(answer, "tidemark-start-offset", offsetText(stream.start), "trim");
    this.header(answer, "stream-next-offset", offsetText(stream.end), "trim");
  }

  async remove(random: Random): Promise<void> {
    const path = random.pick(PATHS);
    const stream = await this.observe(path);
    if (stream && stream.records.length < 12 && random.chance(0.6)) return;
    const answer = await this.ask("DELETE", urlOf(path));
    if (!stream) return this.status(answer, this.model.at.has(path) ? 410 : 404, "DELETE of nothing");
    this.status(answer, 204, "DELETE");
    this.count(stream.forks.size > 0 ? "deleted with forks" : stream.fork ? "deleted fork" : "deleted");
    this.model.remove(stream);
    await this.platform.pass(20);
  }

  importing(random: Random): Promise<void> {
    return this.#imports.one(random, false);
  }
  struckImport(random: Random): Promise<void> {
    return this.#imports.one(random, true);
  }
  struckPut(random: Random): Promise<void> {
    return this.#cuts.put(random);
  }
  struckRemove(random: Random): Promise<void> {
    return this.#cuts.remove(random);
  }

  /** An append, or a trim, at whose n-th write the power is cut. */
  async struck(random: Random): Promise<void> {
    const stream = await this.some(random);
    if (!stream || stream.closed) return;
    const host = this.platform.logOf(stream.path)!;
    const isTrim = random.chance(0.2) && stream.forks.size === 0;
    const isProduced = random.chance(0.6);
    const made = this.body(random, stream.type);
    if (made.records === "bad" || made.records.length === 0) return;
    const known = stream.writers.get("struck");
    const producer = { id: "struck", epoch: known?.epoch ?? 0, seq: (known?.seq ?? -1) + 1 };
    const closing = random.chance(0.1);
    const to = random.between(stream.start, stream.end);
    const headers: Record<string, string> = isTrim
      ? { "tidemark-trim-before": offsetText(to) }
      : {
          "content-type": made.headers["content-type"]!,
          ...(isProduced && {
            "producer-id": producer.id,
            "producer-epoch": String(producer.epoch),
            "producer-seq": String(producer.seq),
          }),
          ...(closing && { "stream-closed": "true" }),
        };
    host.writesLeft = random.int(4);
    const { cuts } = host;
    const body = isTrim ? undefined : made.body;
    const answer = await this.ask("POST", urlOf(stream.path), headers, body);
    host.writesLeft = undefined;
    const isStruck = host.cuts > cuts;
    if (isStruck) await this.platform.pass(10);
    stream.touchedTo = this.now;
    if (isStruck) {
      this.count(isTrim ? "struck trim" : "struck append");
      if (answer.status < 400) this.count("struck behind the ack");
    }
    if (answer.status >= 400 && (!isStruck || answer.status !== 503)) this.fail(`struck: ${answer.status}`);
    const head = await this.ask("HEAD", urlOf(stream.path));
    const start = Number(head.headers.get("tidemark-start-offset")!.slice(0, 16));
    const end = Number(head.headers.get("stream-next-offset")!.slice(0, 16));
    if (isTrim) {
      if (start > Math.max(to, stream.start)) this.reads.overtaken(stream, head);
      // Behind a trim that was not made, retention may have removed some of it.
      else if (start < stream.start || (!stream.settings.retention && start !== stream.start && start !== to))
        this.fail(`struck trim: starts at ${start}`);
      if (answer.status < 400 && start < to) this.fail("an acknowledged trim is lost");
      stream.stale = [];
      return stream.trim(start);
    }
    const records = made.records;
    const isTaken = end === stream.end + records.length;
    if (!isTaken && end !== stream.end) this.fail(`struck append: ends at ${end}, was ${stream.end}`);
    if (!isTaken && answer.status < 400) this.fail("an acknowledged append is lost");
    if (isTaken) {
      this.took(stream, records, { closing });
      if (isProduced) stream.writers.set(producer.id, producer);
      if (closing && isProduced) stream.closedBy = producer;
    }
    if (!isProduced || answer.status < 400) return;
    const again = await this.ask("POST", urlOf(stream.path), headers, body);
    if (isTaken) {
      this.count("struck and repeated");
      return this.status(again, 204, "repeat of what was struck");
    }
    this.judgeProduced(stream, producer, records, closing, again);
  }

  async read(random: Random): Promise<void> {
    const path = this.path(random, true);
    await this.observe(path);
    for (let i = random.between(1, 3); i > 0; i--) await this.reads.one(random, path);
  }
  async live(random: Random): Promise<void> {
    const path = this.path(random, true);
    await this.observe(path);
    await this.#lives.one(random, path);
  }
  async pass(random: Random): Promise<void> {
    await this.platform.pass(random.int(5_000));
  }
  async longPass(random: Random): Promise<void> {
    await this.platform.pass(random.pick([20_000, 61_000, 130_000, 400_000, 2_000_000]));
  }
  async evict(random: Random): Promise<void> {
    for (const path of PATHS) if (random.chance(0.5)) this.platform.logOf(path)?.evict();
  }
  async reset(random: Random): Promise<void> {
    this.platform.logOf(random.pick(PATHS))?.reset();
  }
  async away(random: Random): Promise<void> {
    // Without object storage no stream can be made where one was: only what is there is asked.
    this.platform.bucket.isAway = true;
    this.count("bucket away");
    await this.platform.pass(random.int(3_000));
    this.platform.bucket.isAway = false;
  }
  async list(random: Random): Promise<void> {
    const { subscriptions } = this.platform;
    subscriptions.spare();
    await this.observeAll();
    // A stream that could not tell the list that it is there tells it again, after pauses that grow.
    const wasAway = subscriptions.cuts > 0;
    await this.platform.pass(wasAway ? 130_000 : 20_000);
    await this.observeAll();
    const limit = random.between(1, 5);
    const found: string[] = [];
    for (let after: string | null = ""; after !== null;) {
      const answer: Answer = await this.ask(
        "GET",
        `/v1/stream/__ds/streams?limit=${limit}${after === "" ? "" : `&after=${encodeURIComponent(after)}`}`,
      );
      this.status(answer, 200, "list");
      const { streams, next } = JSON.parse(Buffer.from(answer.bytes).toString()) as {
        streams: string[];
        next: string | null;
      };
      found.push(...streams);
      after = next;
    }
    const wanted = PATHS.filter(
      (path) => this.model.visible(path) || ((wasAway || this.model.unsure.has(path)) && found.includes(path)),
    ).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    if (JSON.stringify(found.filter((path) => path !== WAKES)) !== JSON.stringify(wanted))
      this.fail(`list: ${JSON.stringify(found)}, expected ${JSON.stringify(wanted)}`);
    this.count("listed");
  }
}
