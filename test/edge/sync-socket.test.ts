/** Joins, pushes and tides through our client (src/sync/edge-socket.ts), against the Worker inside workerd. */
import { abortAllDurableObjects } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { takesSync } from "../../src/sync/edge-socket.ts";
import { socketProtocols } from "../../src/sync/http-words.ts";
import { crcOf, JOIN } from "./outbox-device.ts";
import { batchAt } from "./outbox-tools.ts";
import { bind, fresh, make, many, take } from "./socket-tools.ts";

const plain = (position: number, previous = 0) => ({ expected: position, at: position, readTo: undefined, previous });

describe("a device through the client", () => {
  it("joins, pushes frames that it does not wait for, and follows them back with a tide behind", async () => {
    const log = await bind(await make(fresh()));
    expect(takesSync(await log.opened)).toBe(true);
    const { refusal, joined } = await log.join(JOIN);
    expect(refusal).toBeUndefined();
    expect(joined).toMatchObject({ known: true, next: 0, lastOffset: -1, generation: 1 });
    const batches = [batchAt(0, ["a ", "b "]), batchAt(2, ["c "])];
    const answers = await Promise.all([
      log.push(plain(0), [batches[0]!]),
      log.push(plain(2, crcOf(batches[0]!)), [batches[1]!]),
    ]);
    expect(answers).toMatchObject([
      { next: 2, lastOffset: 1, duplicate: false },
      { next: 3, lastOffset: 2 },
    ]);
    const follow = log.follow(0, { windowBytes: 100, resize: (has) => Math.min(2 * has, 1_000) });
    expect(await take(follow, 3)).toEqual(["a ", "b ", "c "]);
    const { value } = await follow.next();
    expect(value).toMatchObject({
      bytes: new Uint8Array(0),
      tide: { logStartOffset: 0, nextOffset: 3, highWatermark: 3, life: joined.life },
    });
    log.socket.close();
  });

  it("refused joins are answers with the same fields; a join that is none rejects", async () => {
    const path = await make(fresh());
    const [old, log] = [await bind(path), await bind(path)];
    expect((await old.join(JOIN)).joined.term).toBe(1);
    expect((await log.join({ ...JOIN, registered: true, term: 2 })).joined.term).toBe(2);
    // The older leader's channel has ended, and what it asks then rejects.
    await expect(old.push(plain(0), [batchAt(0, ["late"])])).rejects.toMatchObject({ code: "FENCED_LEADER" });
    const late = await bind(path);
    expect(await late.join({ ...JOIN, registered: true })).toMatchObject({
      refusal: "FENCED_LEADER",
      joined: { known: true, term: 2, next: 0, logEndOffset: 0 },
    });
    const other = { ...JOIN, outbox: "00000000000000ee", registered: true };
    expect(await late.join(other)).toMatchObject({ refusal: "UNKNOWN_OUTBOX", joined: { known: false } });
    await expect(late.join({ ...JOIN, term: -1 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { edge: "BAD_REQUEST" },
    });
    for (const each of [log, late]) each.socket.close();
  });

  it("a push that is refused says its code and where the outbox stands", async () => {
    const log = await bind(await make(fresh()));
    await log.join(JOIN);
    await log.push(plain(0), [batchAt(0, ["a"])]);
    await expect(log.push(plain(1, 7), [batchAt(1, ["b"])])).rejects.toMatchObject({
      code: "OUTBOX_CONFLICT",
      details: { next: 1, lastOffset: 0, logEndOffset: 1 },
    });
    const bad = batchAt(1, ["b"]);
    bad[bad.length - 1]! ^= 1;
    await expect(log.push(plain(1), [bad])).rejects.toMatchObject({ code: "INVALID_BATCH", details: { index: 0 } });
    log.socket.close();
  });

  it("a push whose object is reset ends as OUTCOME_UNKNOWN", async () => {
    const path = await make(fresh());
    const log = await bind(path);
    await log.join(JOIN);
    const push = log.push(plain(0), [batchAt(0, ["a"])]);
    const outcome = push.then(
      () => "ok",
      ({ code }: { code: string }) => code,
    );
    await abortAllDurableObjects();
    expect(["ok", "OUTCOME_UNKNOWN"]).toContain(await outcome);
  });

  it("channels of one socket join by themselves", async () => {
    const socket = await many();
    const logs = await Promise.all(Array.from({ length: 5 }, async () => socket.open(await make(fresh()))));
    const joins = await Promise.all(logs.map((log) => log.join(JOIN)));
    expect(new Set(joins.map(({ joined }) => joined.stream)).size).toBe(5);
    await Promise.all(logs.map((log, i) => log.push(plain(0), [batchAt(0, [`${i}`])])));
    const follows = logs.map((log) => log.follow(0));
    expect(await Promise.all(follows.map((follow) => take(follow, 1)))).toEqual([["0"], ["1"], ["2"], ["3"], ["4"]]);
    socket.close();
  });

  it("a token goes as a sub-protocol", () => {
    expect(socketProtocols()).toEqual(["tidemark.1"]);
    expect(socketProtocols("a.b.c")).toEqual(["tidemark.1", "bearer.a.b.c"]);
  });
});
