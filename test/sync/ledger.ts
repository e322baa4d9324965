/**
 * The ledger of the end-to-end runs of sync. It is in the runner's process and outlives every browser. Of each value it
 * knows who sent it, whether its device acknowledged it, at which position of the outbox, and where it is at the edge.
 *
 *   sent ─▶ acked(position) ─▶ committed(offset)      what a tab wrote down before it was killed counts
 *
 * A *line* is one outbox's history of positions: a device's, until its profile is replaced by an older copy or is
 * copied. Acks of records that were lost with a profile count as unknown outcomes (`forget`).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { check, printFinding } from "../checker/checker.ts";
import type { Op } from "../checker/history.ts";
import type { Post } from "../crash/events.ts";
import { type SyncNote, TOPIC } from "./events.ts";

const PROVISIONAL_FROM = 2 ** 52;
const SHOWN = 5;

interface Sent {
  readonly value: string;
  readonly by: string;
  readonly line: string;
  readonly sentAt: number;
  outcome: "ok" | "info";
  ackedAt?: number;
  position?: number;
  committed?: number | undefined;
}

export interface SyncVerdict {
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
  readonly findings: readonly string[];
}

export class SyncLedger {
  readonly #sent = new Map<string, Sent>();
  readonly #numbers = new Set<string>();
  /** The line that each tab writes to, by the tab's name. */
  readonly #lines = new Map<string, string>();
  readonly #polls: Op[] = [];
  readonly problems: string[] = [];
  readonly counts: Record<string, number> = {};
  #clock = 0;

  count(what: string, times = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + times;
  }
  /** How many records were acknowledged so far. */
  get acked(): number {
    return this.counts["records acked"] ?? 0;
  }

  /** Said before the tab opens. */
  writes(tab: string, line: string): void {
    this.#lines.set(tab, line);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      this.post(await text(request));
    } catch {
      // A browser that dies while it sends leaves half a body. None of its notes count.
      response.writeHead(400).end();
      return;
    }
    response.writeHead(204).end();
  }

  /** Takes the body of a request. Throws when the body is not complete. */
  post(body: string): void {
    const post = JSON.parse(body) as Post;
    if (post.number !== undefined && this.#numbers.has(post.number)) return;
    if (post.number !== undefined) this.#numbers.add(post.number);
    for (const event of post.events) if (event.type === "note") this.#take(event.note as SyncNote);
  }

  #take(note: SyncNote): void {
    const time = this.#clock++;
    if ("sent" in note) {
      const line = this.#lines.get(note.by) ?? note.by;
      for (const value of note.sent) this.#sent.set(value, { value, by: note.by, line, sentAt: time, outcome: "info" });
    } else if ("acked" in note) {
      this.count("records acked", note.acked.length);
      for (const [i, value] of note.acked.entries()) {
        const offset = note.offsets[i]!;
        Object.assign(this.#sent.get(value)!, { outcome: "ok", ackedAt: time });
        if (offset >= PROVISIONAL_FROM) this.#sent.get(value)!.position = offset - PROVISIONAL_FROM;
      }
    } else if ("committed" in note) {
      this.count("places at the edge told");
      this.#sent.get(note.committed)!.committed = note.offset;
    } else if ("refused" in note) {
      this.count(`appends refused (${note.code})`, note.refused.length);
      this.problems.push(`the append of ${note.refused[0]} was refused: ${note.message}`);
    } else if ("uncommitted" in note) {
      this.count(`places never told (${note.code})`);
      if (note.code !== "CLOSED") this.problems.push(`the place of ${note.uncommitted} was not told: ${note.code}`);
    } else {
      this.count(`events: ${note.event}`);
      if (note.event === "blocked" || note.event === "stopped" || note.event === "gap")
        this.problems.push(`${note.by}: ${note.event} ${JSON.stringify(note.details)}`);
    }
  }

  /** A moment of this ledger's clock. */
  now(): number {
    return this.#clock++;
  }

  /** A profile was replaced by a copy of it from `moment`: what a line acknowledged since may be gone. */
  forget(line: string, moment: number): void {
    for (const sent of this.#sent.values()) {
      if (sent.line !== line || sent.outcome !== "ok" || sent.ackedAt! < moment) continue;
      // A record with a place is at the edge, whatever becomes of the profile.
      if (sent.committed !== undefined) continue;
      sent.outcome = "info";
      this.count("acked records that went with a profile");
    }
  }

  /** What a reader found from the beginning to the end, by offset. */
  read(reader: string, records: readonly (readonly [offset: number, value: string])[]): void {
    const invoke = this.#clock++;
    this.#polls.push({
      type: "poll",
      process: reader,
      topic: TOPIC,
      records: records.map(([offset, value]) => ({ offset, value })),
      invoke,
      complete: this.#clock++,
      outcome: "ok",
      wholeLog: true,
    });
  }

  /** Judges what the edge has. */
  judge(edge: readonly (readonly [offset: number, value: string])[]): SyncVerdict {
    this.read("edge", edge);
    const appends = [...this.#sent.values()].map(({ value, by, sentAt, outcome, ackedAt, committed }): Op => ({
      type: "append",
      process: by,
      topic: TOPIC,
      records: [{ value }],
      invoke: sentAt,
      outcome,
      ...(ackedAt !== undefined && { complete: ackedAt }),
      ...(outcome === "ok" && committed !== undefined && { offsets: [committed] }),
    }));
    const { findings, counts } = check([...appends, ...this.#polls]);
    const wrongOrder = this.#order(new Map(edge.map(([offset, value]) => [value, offset])));
    const sum = (...names: (keyof typeof counts)[]): number =>
      names.reduce((total, name) => total + (counts[name] ?? 0), 0);
    const [lost, doubled] = [sum("lost-write", "unseen"), sum("duplicate")];
    const all = Object.values(counts).reduce((total, count) => total + count, 0);
    return {
      lost,
      doubled,
      reordered: all - lost - doubled + wrongOrder.length,
      findings: [...findings.map(printFinding), ...wrongOrder.slice(0, SHOWN)],
    };
  }

  /** Records of one line stand at the edge in the order of their positions. */
  #order(places: ReadonlyMap<string, number>): string[] {
    const wrong: string[] = [];
    const lines = new Map<string, Sent[]>();
    for (const sent of this.#sent.values()) {
      const line = lines.get(sent.line);
      if (line) line.push(sent);
      else lines.set(sent.line, [sent]);
    }
    for (const [line, all] of lines) {
      const placed = all
        .filter(({ value, position }) => position !== undefined && places.has(value))
        .sort((a, b) => a.position! - b.position!);
      for (const [i, { value, position }] of placed.entries()) {
        const before = placed[i - 1];
        if (before && places.get(before.value)! >= places.get(value)!)
          wrong.push(
            `order of ${line}: ${before.value} at ${before.position} stands at ${places.get(before.value)} of the ` +
              `edge, ${value} at ${position} stands at ${places.get(value)}`,
          );
      }
    }
    return wrong;
  }
}
