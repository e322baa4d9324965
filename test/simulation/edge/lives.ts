/** Long-polls and events of a stream that others append to meanwhile, compared with the model. */
import { isUtf8 } from "node:buffer";
import type { Random } from "../prng.ts";
import { bodyOf, numberIn, textOf } from "./answers.ts";
import type { Appending } from "./appending.ts";
import { BATCHES, offsetText, sameBytes, urlOf } from "./core.ts";
import type { ModelStream } from "./model.ts";
import type { Answer } from "./platform.ts";
import type { Reads } from "./reads.ts";

/** How long a long-poll waits. */
const POLL_MS = 20_000;

export class Lives {
  readonly #of: Appending;

  constructor(of: Appending) {
    this.#of = of;
  }
  get #reads(): Reads {
    return this.#of.reads;
  }

  async one(random: Random, path: string): Promise<void> {
    const stream = this.#of.model.visible(path);
    if (!stream) return;
    return random.chance(0.5) ? this.#longPoll(random, stream) : this.#events(random, stream);
  }

  async #longPoll(random: Random, stream: ModelStream): Promise<void> {
    const of = this.#of;
    const { platform } = of;
    const isBatches = random.chance(0.4);
    const place = random.chance(0.7) ? offsetText(stream.end) : this.#reads.place(random, stream);
    const from = place === "-1" ? stream.start : place === "now" ? stream.end : numberIn(place);
    const before = stream.end;
    const until = of.now + POLL_MS;
    // It may be its last use up to its end.
    stream.touchedTo = until;
    const polled = platform.request(
      "GET",
      `${urlOf(stream.path)}?offset=${place}&live=long-poll`,
      isBatches ? { accept: BATCHES } : {},
    );
    polled.catch(() => undefined);
    const isWaiting = from === stream.end && !stream.closed;
    const appends = isWaiting && random.chance(0.7);
    if (appends) {
      await platform.pass(random.int(3_000));
      if (random.chance(0.3)) platform.logOf(stream.path)!.evict();
      await of.append(random, stream);
    }
    const isLate = of.now >= until;
    const found = await platform.settled(polled);
    const answer: Answer = {
      status: found.status,
      headers: found.headers,
      bytes: new Uint8Array(await platform.settled(found.arrayBuffer())),
    };
    of.note("GET", `${urlOf(stream.path)}?offset=${place}&live=long-poll`, {}, undefined, answer);
    stream.touchedTo = of.now;
    if (isWaiting) stream.touchedFrom = of.now;
    of.count(`long-poll${isWaiting ? (appends ? " woken" : " waited") : ""}`);
    await of.observe(stream.path);
    if (of.model.visible(stream.path) !== stream) return;
    const decoded = isBatches && answer.status === 200 ? await this.#reads.decode(answer.bytes) : [];
    this.#reads.fits(stream, `long-poll ${place}`, (shown) => {
      // A poll's time may be over before the append comes.
      if (isWaiting && ((stream.end === before && !stream.closed) || isLate))
        return answer.status === 204 ? undefined : `status ${answer.status} of a poll that waited`;
      const begin = this.#reads.from(stream, shown, place === "now" ? offsetText(from) : place, answer);
      if (typeof begin !== "number") return begin;
      const next = numberIn(answer.headers.get("stream-next-offset"));
      const why = this.#reads.headers(stream, answer, begin);
      if (why !== undefined) return why;
      if (answer.status === 204) return next === begin ? undefined : "204 with progress";
      if (isBatches)
        return this.#reads.differs(
          decoded.filter(({ offset }) => offset >= begin && offset < next),
          shown.records,
          begin,
          next,
        );
      const wanted = bodyOf(stream, shown.records, begin, next);
      return sameBytes(wanted, answer.bytes)
        ? undefined
        : `long-poll is ${textOf(answer.bytes)}, expected ${textOf(wanted)}`;
    });
  }

  async #events(random: Random, stream: ModelStream): Promise<void> {
    const of = this.#of;
    const { platform } = of;
    const from = random.chance(0.4) ? stream.end : random.between(stream.start, stream.end);
    const found = await platform.settled(
      platform.request("GET", `${urlOf(stream.path)}?offset=${offsetText(from)}&live=sse`, {}),
    );
    if (found.status !== 200) return of.fail(`sse: status ${found.status}`);
    const reader = found.body!.getReader();
    let told = "";
    let standing = from;
    let isOver = false;
    const until = async (): Promise<void> => {
      for (let tries = 0; (standing < stream.end || !isOver === stream.closed) && tries < 40; tries++) {
        const { done, value } = (await platform.settled(reader.read())) as { done: boolean; value?: Uint8Array };
        if (done) break;
        told += textOf(value!);
        const controls = [...told.matchAll(/event: control\n(?:id: .*\n)?data: ?(.*)\n/g)].map(
          (each) => JSON.parse(each[1]!) as { streamNextOffset: string; streamClosed?: boolean },
        );
        const last = controls.at(-1);
        if (last) standing = numberIn(last.streamNextOffset);
        isOver = last?.streamClosed === true;
      }
    };
    if (from < stream.end || stream.closed) await until();
    const appends = random.between(0, 3);
    for (let i = 0; i < appends && !stream.closed; i++) {
      await of.append(random, stream);
      if (of.model.visible(stream.path) !== stream) break;
      await until();
    }
    await platform.settled(reader.cancel());
    await platform.pass(5);
    of.trace.push(`sse of ${stream.path} from ${from}: ${told.slice(0, 500).replaceAll("\n", "⏎")}`);
    stream.touchedTo = of.now;
    of.count(`sse${appends > 0 ? " with appends" : ""}`);
    await of.observe(stream.path);
    if (of.model.visible(stream.path) !== stream) return;
    const parts: string[] = [];
    for (const event of told.split("\n\n")) {
      if (!event.includes("event: data")) continue;
      const data = event
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).replace(/^ /, ""))
        .join("\n");
      parts.push(
        stream.isJson
          ? data.slice(1, -1)
          : stream.type === "text/plain"
            ? data
            : Buffer.from(data, "base64").toString(),
      );
    }
    // Behind a trim that overtook it, its next read is refused.
    if (standing < stream.end && standing >= stream.start) of.fail(`sse ends at ${standing}, not ${stream.end}`);
    // Its pages may be of different ages. Half a character, which a fork may have of its source, is shown as U+FFFD.
    const isWhole =
      stream.type !== "text/plain" || stream.records.every(({ value }) => value === null || isUtf8(value));
    if (stream.stale.length > 0 || !isWhole) return;
    this.#reads.fits(stream, `sse ${from}`, ({ records }) => {
      const values = records
        .filter(({ offset, value }) => offset >= from && value !== null)
        .map(({ value }) => textOf(value!));
      const wanted = stream.isJson ? values.join(",").replaceAll(/\s/g, "") : values.join("");
      const all = stream.isJson
        ? parts
            .filter((each) => each !== "")
            .join(",")
            .replaceAll(/\s/g, "")
        : parts.join("");
      return all === wanted ? undefined : `sse is ${all.slice(0, 300)}, expected ${wanted.slice(0, 300)}`;
    });
  }
}
