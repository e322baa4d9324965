/**
 * Requests in whose middle the power of an object is cut: at one of its writes, or some turns later. Then the client
 * sends them again. docs/failure-modes.md says what may be there meanwhile: all of it, or nothing.
 */
import type { Random } from "../prng.ts";
import type { Appending } from "./appending.ts";
import { numberIn } from "./answers.ts";
import { offsetText, PATHS, urlOf } from "./core.ts";
import { configIn, notedForks } from "./leftovers.ts";
import type { Put } from "./making.ts";
import type { ModelStream } from "./model.ts";
import type { ObjectHost } from "./object-host.ts";
import type { Answer } from "./platform.ts";
import { turn } from "./virtual-time.ts";

/** A request with everything that is sent again. */
export interface Sent {
  readonly method: string;
  readonly target: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array | undefined;
}
export interface StruckAnswer extends Answer {
  /** The power of an object was cut meanwhile, or right behind it. */
  readonly isCut: boolean;
}

/** Most requests write so often. One that makes a stream makes its tables first. */
const WRITES = [8, 40];
const COMMITS = 5;
const TURNS = [8, 30];
/** A fork that was never made is let go this long after a trim was refused for it, alarms that are late included. */
const LET_GO_MS = 11 * 60_000;

export class Cuts {
  readonly #of: Appending;

  constructor(of: Appending) {
    this.#of = of;
  }

  /** Asks, and cuts the power of one of these objects. */
  async strike(random: Random, hosts: readonly ObjectHost[], sent: Sent): Promise<StruckAnswer> {
    const { platform } = this.#of;
    const host = random.pick(hosts);
    const { cuts } = host;
    let isOver = false;
    const later = async (turns: number): Promise<void> => {
      for (let i = 0; i < turns && !isOver; i++) await turn();
      if (!isOver) host.cut();
    };
    const at = random.weighted({ write: 2, commit: 3, turn: 4 });
    if (at === "write") host.writesLeft = random.int(random.pick(WRITES));
    else if (at === "commit") host.commitsLeft = random.int(COMMITS);
    else void later(random.int(random.pick(TURNS)));
    const answer = await this.#of.ask(sent.method, sent.target, sent.headers, sent.body);
    if (random.chance(0.4)) await platform.quiet(random.int(8));
    isOver = true;
    host.spare();
    const isCut = host.cuts > cuts;
    if (isCut) {
      this.#of.trace.push(`  (power of ${host.name} cut)`);
      this.#of.count(`cut ${sent.method} ${answer.status} of ${host.name.slice(0, 4)}`);
      await platform.pass(10);
    }
    return { ...answer, isCut };
  }

  /** A status that is expected, or where the power was cut that of an unknown outcome. True if it is known. */
  #known(answer: StruckAnswer, wanted: number, what: string): boolean {
    this.#of.status(answer, answer.isCut ? [wanted, 503] : wanted, what);
    return answer.status === wanted;
  }

  #hosts(path: string, source: ModelStream | undefined): ObjectHost[] {
    const { platform } = this.#of;
    const own = platform.hostOf(path);
    const sources = [source, source?.fork?.source].filter((each) => each !== undefined);
    return [own, own, own, platform.subscriptions, ...sources.map((each) => platform.hostOf(each.path))];
  }

  async put(random: Random): Promise<void> {
    const of = this.#of;
    const path = PATHS.find((each) => !of.model.at.has(each));
    if (path === undefined) return;
    const from = random.chance(0.5) ? of.path(random, true) : undefined;
    await of.observe(path);
    if (from !== undefined) await of.observe(from);
    if (of.model.at.has(path)) return;
    const asked = of.asking(random, path, from === path ? undefined : from);
    for (let tries = 0; tries < 4; tries++) {
      if (asked.from !== undefined) await of.observe(asked.from);
      if (await this.#putOnce(random, asked)) return;
      if (random.chance(0.25)) break;
    }
    await this.#nothingOf(asked);
  }

  /** True once it is known what has come of it. */
  async #putOnce(random: Random, asked: Put): Promise<boolean> {
    const of = this.#of;
    const { path, from, headers, body } = asked;
    const source = from === undefined ? undefined : of.model.at.get(from);
    const wanted = of.wanted(asked);
    const sent = { method: "PUT", target: urlOf(path), headers, body };
    of.platform.holdsAlarms = true;
    const answer = await this.strike(random, this.#hosts(path, source), sent);
    const head = await of.ask("HEAD", urlOf(path));
    of.platform.holdsAlarms = false;
    const isKnown = this.#known(answer, typeof wanted === "number" ? wanted : 201, "struck PUT");
    if (typeof wanted === "number") {
      of.status(head, 404, "HEAD behind a PUT that is refused");
      return false;
    }
    of.status(head, isKnown ? 200 : [200, 404], "HEAD behind a struck PUT");
    if (head.status === 404) return false;
    const stream = of.make(asked, wanted);
    of.reads.describe(stream, head, "struck PUT");
    of.count(isKnown ? "struck PUT is told" : "struck PUT is made");
    const again = await of.ask("PUT", urlOf(path), headers, body);
    of.status(again, 200, "a struck PUT again");
    of.reads.describe(stream, again, "a struck PUT again");
    await of.reads.whole(path);
    return true;
  }

  /** A PUT that has made nothing, and is given up, holds no source. */
  async #nothingOf({ path, from }: Put): Promise<void> {
    const of = this.#of;
    of.count("struck PUT is given up");
    const source = from === undefined ? undefined : of.model.visible(from);
    await of.platform.pass(20);
    if (!source || !notedForks(of.platform, source.path).includes(path)) return;
    of.count("struck fork is noted");
    const trim = { "tidemark-trim-before": offsetText(source.start) };
    const answer = await of.ask("POST", urlOf(source.path), trim);
    of.status(answer, [204, 409, 404, 410], "trim of what a fork that was never made holds");
    // Forks that are there may have been asked before: then pauses are longer.
    const { at = 0 } = configIn(of.platform, source.path)?.forkCheck ?? {};
    await of.platform.pass(Math.max(LET_GO_MS, at - of.now + 60_000));
    if (notedForks(of.platform, source.path).includes(path)) of.fail(`${path} was never made, and holds ${from}`);
  }

  async remove(random: Random): Promise<void> {
    const of = this.#of;
    const path = of.path(random, true);
    const stream = await of.observe(path);
    if (!stream || (stream.records.length < 12 && random.chance(0.5))) return;
    const hosts = this.#hosts(path, stream.fork?.source);
    for (let tries = 0; tries < 8; tries++) {
      of.platform.holdsAlarms = true;
      const answer = await this.strike(random, hosts, { method: "DELETE", target: urlOf(path) });
      const isKnown = this.#known(answer, 204, "struck DELETE");
      if (answer.isCut && random.chance(0.4)) await this.#sleeps(path);
      const gone = stream.forks.size > 0 ? 410 : 404;
      const head = await of.ask("HEAD", urlOf(path));
      of.platform.holdsAlarms = false;
      of.status(head, isKnown ? gone : [gone, 200], "HEAD behind a struck DELETE");
      if (head.status === 200) {
        this.#stands(stream, head);
        await of.reads.whole(path);
        // Its time may be over meanwhile.
        if (of.model.visible(path) !== stream) return;
        continue;
      }
      of.count(isKnown ? "struck DELETE is told" : "struck DELETE is done");
      of.model.remove(stream);
      if (answer.isCut) of.model.unsure.add(path);
      of.status(await of.ask("DELETE", urlOf(path)), gone, "a struck DELETE again");
      // A source that could not be told is told later.
      return of.platform.pass(answer.isCut && stream.fork ? 30_000 : 20);
    }
  }

  /** Nobody asks for it. Its alarm alone tells its source. */
  async #sleeps(path: string): Promise<void> {
    const { platform } = this.#of;
    platform.holdsAlarms = false;
    await platform.pass(40_000);
    if (configIn(platform, path)?.releasing) this.#of.fail(`the source of ${path} was not told that it is gone`);
  }

  #stands(stream: ModelStream, head: Answer): void {
    const end = numberIn(head.headers.get("stream-next-offset"));
    if (end !== stream.end) this.#of.fail(`a stream that was not deleted ends at ${end}, not ${stream.end}`);
  }
}
