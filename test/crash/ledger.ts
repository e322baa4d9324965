/**
 * The ledger: takes what pages tell, in the runner's process, and turns it into histories for the checker. An append
 * that was told to begin and not to end has an unknown outcome, whatever the page may have seen before it died.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type { AppendOp, Op, PollOp, TrimOp } from "../checker/history.ts";
import type { Moment, PageEvent, Post } from "./events.ts";

/** Lives follow each other, so the clock of a later one begins behind all of an earlier one's. */
const LIFE = 1e7;

type Pending = { op: AppendOp | TrimOp; readonly acks?: "written" | "flushed" };

export class Ledger {
  readonly history: Op[] = [];
  readonly #pending = new Map<string, { readonly index: number } & Pending>();
  /** Told to begin, not yet to have ended. */
  readonly #underWay = new Map<string, Moment>();
  readonly #numbers = new Set<string>();
  readonly problems: string[] = [];
  readonly counts: Record<string, number> = {};
  /** Requests so far: a frozen page makes none. */
  posts = 0;
  onBegin: ((moment: Moment) => void) | undefined;
  onNote: ((note: unknown) => void) | undefined;

  count(what: string, times = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + times;
  }

  /** A new profile: what came before is history. */
  clear(): void {
    this.history.length = 0;
    this.#pending.clear();
    this.#underWay.clear();
  }

  /** True while a page is in the middle of it, as far as anybody knows. */
  isUnderWay(moment: Moment): boolean {
    return [...this.#underWay.values()].includes(moment);
  }
  /** A life has ended: nothing of it is under way any more. */
  endLife(): void {
    this.#underWay.clear();
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      this.post(await text(request));
    } catch {
      // A browser that dies while it sends sends half a body; nothing in it counts.
      response.writeHead(400).end();
      return;
    }
    response.writeHead(204).end();
  }

  /** Throws when it is not whole. */
  post(body: string): void {
    this.posts++;
    const post = JSON.parse(body) as Post;
    try {
      const isNew = post.number === undefined || !this.#numbers.has(post.number);
      if (post.number !== undefined) this.#numbers.add(post.number);
      if (isNew) for (const event of post.events) this.#take(post.life, event);
    } catch (thrown) {
      this.problems.push(String(thrown));
    }
  }

  #take(life: number, event: PageEvent): void {
    const time = (at: number): number => life * LIFE + at;
    switch (event.type) {
      case "append": {
        const { process, topic, acks } = event;
        const records = event.records.map(([value, key, tombstone]) => ({
          value,
          ...(key !== null && { key }),
          ...(tombstone === 1 && { tombstone: true }),
        }));
        return this.#begin(life, event.id, {
          op: { type: "append", process, topic, records, invoke: time(event.at), outcome: "info" },
          acks,
        });
      }
      case "trim":
        return this.#begin(life, event.id, {
          op: {
            type: "trim",
            process: `keeper/${life}`,
            topic: event.topic,
            to: event.to,
            invoke: time(event.at),
            outcome: "info",
          },
        });
      case "done":
        return this.#end(life, event, time(event.at));
      case "poll": {
        const { process, topic, wholeLog, offsets, values } = event;
        const records = offsets.map((offset, i) => ({ offset, value: values[i]! }));
        const poll: PollOp = {
          type: "poll",
          process,
          topic,
          records,
          invoke: time(event.from),
          complete: time(event.at),
          outcome: "ok",
          ...(wholeLog && { wholeLog }),
        };
        this.history.push(poll);
        return this.count("records polled", records.length);
      }
      case "assign":
        return void this.history.push({
          type: "assign",
          process: event.process,
          topics: [event.topic],
          invoke: time(event.at),
          complete: time(event.at),
          outcome: "ok",
        });
      case "begin":
        this.#underWay.set(`${life}:${event.id}`, event.moment);
        return this.onBegin?.(event.moment);
      case "end":
        this.#underWay.delete(`${life}:${event.id}`);
        this.count(`done: ${event.moment}`);
        this.count("segments retired", event.retired ?? 0);
        return this.count("segments compacted", event.compacted ?? 0);
      case "note":
        return this.onNote?.(event.note);
      case "problem":
        return void this.problems.push(event.text);
    }
  }

  #begin(life: number, id: number, pending: Pending): void {
    this.#pending.set(`${life}:${id}`, { index: this.history.length, ...pending });
    this.history.push(pending.op);
  }

  #end(life: number, event: PageEvent & { type: "done" }, complete: number): void {
    const key = `${life}:${event.id}`;
    const pending = this.#pending.get(key);
    if (!pending) throw new Error(`life ${life}: ${event.id} ended, and never began`);
    this.#pending.delete(key);
    const { index, op, acks } = pending;
    const { outcome, offsets, duplicates, code } = event;
    if (outcome !== "info") this.history[index] = { ...op, outcome, complete, ...(offsets && { offsets }) } as Op;
    if (op.type !== "append") return;
    const what =
      outcome === "ok"
        ? `records acked ${acks}`
        : `records ${outcome === "fail" ? "refused" : "of unknown outcome"} (${code})`;
    this.count(what, op.records.length);
    if (duplicates !== undefined) this.count("records acked as duplicates", duplicates);
  }

  /** Appends that nobody ever answered, once their page is gone. */
  get unanswered(): number {
    let records = 0;
    for (const { op } of this.#pending.values()) if (op.type === "append") records += op.records.length;
    return records;
  }
}
