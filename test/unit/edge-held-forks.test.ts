/**
 * When a source asks whether its forks exist, over Node's SQLite: the times survive an eviction of the object, and are
 * written only when they change.
 */
import { describe, expect, it } from "vitest";
import { Archive } from "../../worker/store/segment-archive.ts";
import type { Sql } from "../../worker/store/sql.ts";
import { HeldForks } from "../../worker/log-object/forks.ts";
import type { Peer } from "../../worker/rpc/fork-peer.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import type { StreamConfig } from "../../worker/stream/stream-config.ts";
import { retentionDue } from "../../worker/log-object/retention-schedule.ts";
import { releaseKernel } from "../support/kernels.ts";
import { nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const kernel = await releaseKernel();
const MINUTE = 60_000;
const CONFIG: StreamConfig = { ...STREAM_CONFIG, path: "source", retention: { maxRecords: 1 } };

/** A source whose object sleeps and wakes, with a clock that the test sets. */
class Source {
  now = 1_000 * MINUTE;
  writes = 0;
  /** Which fork was asked at which minute. */
  readonly asked: [minute: number, child: string][] = [];
  readonly made = new Set<string>();
  readonly away = new Set<string>();
  readonly #sql = nodeSql();
  stream!: Stream;
  held!: HeldForks;

  get #host(): StreamHost {
    const sql: Sql = {
      exec: (query, ...bindings) => {
        if (!query.startsWith("SELECT")) this.writes++;
        return this.#sql.exec(query, ...bindings);
      },
      transaction: (work) => this.#sql.transaction(work),
    };
    return {
      sql,
      kernel,
      archive: new Archive(undefined, kernel),
      now: () => this.now,
      breathe: () => Promise.resolve(),
      readSource: () => Promise.reject(new Error()),
      onChange: () => {},
      onSealed: () => {},
      abort: (reason) => expect.fail(reason),
    };
  }

  async make(config = CONFIG): Promise<this> {
    await Stream.create(this.#host, config);
    return this.wake();
  }

  async wake(): Promise<this> {
    this.stream = (await Stream.load(this.#host))!;
    this.held = new HeldForks({
      stream: () => this.stream,
      now: () => this.now,
      peer: (path) =>
        ({
          isForkOf: async () => {
            this.asked.push([(this.now - 1_000 * MINUTE) / MINUTE, path]);
            if (this.away.has(path)) throw new Error("away");
            return this.made.has(path);
          },
        }) as unknown as Peer,
      release: async (child) => this.stream.forks.remove(child),
    });
    return this;
  }

  /** Does what the object's alarm does. */
  async alarm(): Promise<number | undefined> {
    await this.held.run();
    return this.held.plan();
  }

  /** Lets `minutes` pass. The object sleeps between its alarms. */
  async idle(minutes: number): Promise<number> {
    const end = this.now + minutes * MINUTE;
    let alarms = 0;
    for (let due = this.held.plan(); due !== undefined && due <= end; due = await this.alarm(), alarms++) {
      this.now = Math.max(this.now, due);
      await this.wake();
    }
    this.now = end;
    return alarms;
  }
}

describe("a source asks its forks whether they are", () => {
  it("after ten minutes, and each time twice as long after up to a day, though it sleeps between", async () => {
    const source = await new Source().make();
    source.stream.forks.add("child", "0000000a");
    source.made.add("child");
    await source.idle(7 * 24 * 60);
    const times = source.asked.map(([minute]) => minute);
    expect(times.slice(0, 8)).toEqual([10, 30, 70, 150, 310, 630, 1_270, 2_550]);
    expect(times.slice(8)).toEqual([3_990, 5_430, 6_870, 8_310, 9_750]);
    expect(source.stream.forks.paths).toEqual(["child"]);
  });

  it("a fork that was never made is released at the first question; one that does not answer is kept", async () => {
    const source = await new Source().make();
    for (const child of ["made", "ghost", "away"]) source.stream.forks.add(child, "0000000a");
    source.made.add("made");
    source.away.add("away");
    source.held.plan();
    await source.wake();
    source.now += 10 * MINUTE;
    await source.alarm();
    expect(source.stream.forks.paths).toEqual(["away", "made"]);
    source.away.delete("away");
    await source.idle(20);
    expect(source.stream.forks.paths).toEqual(["made"]);
  });

  it("writes when a time changes, and not when it is only read", async () => {
    const source = await new Source().make();
    source.stream.forks.add("child", "0000000a");
    source.made.add("child");
    const due = source.held.plan();
    await source.wake();
    source.writes = 0;
    for (let i = 0; i < 10; i++, source.now += MINUTE / 10) expect(await source.alarm()).toBe(due);
    expect(source.writes).toBe(0);
    source.now = due!;
    await source.alarm();
    expect(source.writes).toBe(1);
  });

  it("begins again with ten minutes when no fork was held in between", async () => {
    const source = await new Source().make();
    source.stream.forks.add("child", "0000000a");
    source.made.add("child");
    await source.idle(60);
    source.stream.forks.remove("child");
    expect(source.held.plan()).toBeUndefined();
    source.stream.forks.add("other", "0000000b");
    expect(source.held.plan()).toBe(source.now + 10 * MINUTE);
  });

  it("only when retention or compaction waits for them", async () => {
    const { retention: _, ...keepsAll } = CONFIG;
    const source = await new Source().make(keepsAll);
    source.stream.forks.add("child", "0000000a");
    source.writes = 0;
    expect([source.held.plan(), source.writes]).toEqual([undefined, 0]);
    source.stream.save({ deleted: true });
    expect(source.held.plan()).toBe(source.now + 10 * MINUTE);
  });

  it("retention has nothing due while forks hold the stream", async () => {
    const source = await new Source().make();
    const body = (text: string) => ({
      body: new TextEncoder().encode(text),
      contentType: "text/plain",
      closing: false,
      producer: undefined,
      seq: undefined,
      ifEnd: undefined,
    });
    await source.stream.append(body("a"));
    await source.stream.log.roll();
    await source.stream.append(body("b"));
    expect(retentionDue(source.stream, source.now)).toBe(source.now);
    source.stream.forks.add("child", "0000000a");
    expect(retentionDue(source.stream, source.now)).toBeUndefined();
  });
});
