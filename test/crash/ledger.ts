/**
 * The ledger: receives the events of pages in the runner's process, and turns them into a history for the checker. An
 * append whose beginning was reported and whose end was not has an unknown outcome, whatever the page saw before it
 * died.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type { AppendOp, Op, PollOp, TrimOp } from "../checker/history.ts";
import type { Moment, PageEvent, Post } from "./events.ts";

/** Added to the clock once per life: lives follow each other, so all times of a later one are greater. */
const LIFE = 1e7;

type Pending = { op: AppendOp | TrimOp; readonly acks?: "written" | "flushed" };

export class Ledger {
  readonly history: Op[] = [];
  readonly #pending = new Map<string, { readonly index: number } & Pending>();
  /** What pages reported to have begun and not yet to have ended. */
  readonly #underWay = new Map<string, Moment>();
  readonly #numbers = new Set<string>();
  readonly problems: string[] = [];
  readonly counts: Record<string, number> = {};
  /** Requests so far. A frozen page makes none. */
  posts = 0;
  onBegin: ((moment: Moment) => void) | undefined;
  onNote: ((note: unknown) => void) | undefined;

  count(what: string, times = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + times;
  }

  /** Forgets the history: a new profile begins with an empty log. */
  clear(): void {
    this.history.length = 0;
    this.#pending.clear();
    this.#underWay.clear();
  }

  /** True when a page has reported that this began, and not that it ended. */
  isUnderWay(moment: Moment): boolean {
    return [...this.#underWay.values()].includes(moment);
  }
  /** Called when a page's life has ended: what it had begun is no longer under way. */
  endLife(): void {
    this.#underWay.clear();
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      this.post(await text(request));
    } catch {
      // A browser that dies while it sends leaves half a body. None of its events count.
      response.writeHead(400).end();
      return;
    }
    response.writeHead(204).end();
  }

  /** Takes the body of a request. Throws when the body is not complete. */
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
    if (!pending) throw new Error(`life ${life}: operation ${event.id} ended but never began`);
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

  /** How many records are in appends without an outcome. */
  get unanswered(): number {
    let records = 0;
    for (const { op } of this.#pending.values()) if (op.type === "append") records += op.records.length;
    return records;
  }
}
