/**
 * Credits of the WebSocket dialect inside workerd: slow readers, batches larger than a window, appends beyond their
 * credits, clients that do not read.
 */
import { describe, expect, it } from "vitest";
import { splitBatches } from "../../src/record/record-batch.ts";
import { appendPayload, encodeFrame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { at, batchOf, bind, fresh, make, post, Raw, take, textsOf, wireTo } from "./socket-tools.ts";

describe("credits", () => {
  it("a reader that gives no more gets not a byte beyond its credits, and all of it once it does", async () => {
    const path = await make(fresh());
    const writer = await bind(path);
    for (let i = 0; i < 30; i++) await writer.append([batchOf([`${i}:${"x".repeat(10_000)}`])]);
    const raw = new Raw(await wireTo(at(path)));
    const window = 64 * 1024;
    raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: window }, { from: 0 }));
    let given = window;
    let beyond = 0;
    for (let records = 0; records < 30;) {
      // The batches that were sent are in front of this answer, so the client has them all.
      const id = 100 + records;
      raw.wire.send(jsonFrame({ type: FrameType.FETCH, id, credits: 1 << 20 }, { from: "latest" }));
      await raw.next((frame) => frame.id === id);
      beyond = Math.max(beyond, raw.bytesOf(1) - given);
      records = raw.frames
        .filter(({ id: of, type }) => of === 1 && type === FrameType.BATCHES)
        .reduce((sum, { payload }) => sum + splitBatches(payload).length, 0);
      raw.wire.send(encodeFrame({ type: FrameType.CREDIT, id: 1, credits: 20_000 }));
      given += 20_000;
    }
    expect(beyond).toBeLessThanOrEqual(0);
    expect(
      raw.frames
        .filter(({ type }) => type === FrameType.BATCHES)
        .flatMap(({ payload }) => textsOf({ bytes: payload }))
        .map((text) => Number(text.split(":")[0])),
    ).toEqual(Array.from({ length: 30 }, (_, i) => i));
    raw.wire.close(1000);
    writer.socket.close();
  });

  it("a batch larger than the window is announced, once, and comes when there is room", async () => {
    const path = await make(fresh(), "y".repeat(300_000));
    const raw = new Raw(await wireTo(at(path)));
    raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 1000 }, { from: 0 }));
    await raw.next(({ type }) => type === FrameType.STARVE);
    await post(path, "more");
    raw.wire.send(jsonFrame({ type: FrameType.FETCH, id: 2, credits: 1 << 20 }, { from: "latest" }));
    await raw.next(({ id }) => id === 2);
    expect([raw.frames.filter(({ type }) => type === FrameType.STARVE).length, raw.bytesOf(1)]).toEqual([1, 0]);
    raw.wire.close(1000);
    const log = await bind(path);
    expect((await take(log.follow(0, { windowBytes: 1000 }), 2)).map((text) => text.length)).toEqual([300_000, 4]);
    log.socket.close();
  });

  it("more credits than the edge would hold are refused, and so are appends beyond theirs", async () => {
    const path = await make(fresh());
    const raw = new Raw(await wireTo(at(path)));
    raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 2 ** 31 }, { from: 0 }));
    expect(jsonOf(await raw.next(({ id }) => id === 1))).toMatchObject({ code: "LIMIT_EXCEEDED" });
    const batch = batchOf(["x".repeat(1_000_000)]);
    for (let id = 10; id < 40; id++)
      raw.wire.send(encodeFrame({ type: FrameType.APPEND, id, payload: appendPayload([batch]) }));
    for (let id = 10; id < 40; id++) await raw.next((frame) => frame.id === id);
    const answers = raw.frames.filter(({ id }) => id >= 10);
    const refused = answers.filter(({ type }) => type === FrameType.ERROR);
    for (const frame of refused) expect(jsonOf(frame)).toMatchObject({ code: "BACKPRESSURE" });
    // Each answer returns the credits of its append.
    for (const { credits } of answers) expect(credits).toBe(batch.length + 8);
    raw.wire.close(1000);
  });

  it("what a fetch did not use is free again, and no window is refused: a follow waits for its turn", async () => {
    const path = await make(fresh(), "some");
    const log = await bind(path);
    for (let i = 0; i < 40; i++)
      expect((await log.fetch(i % 2 === 0 ? 0 : "latest", 8 * 1024 * 1024)).length > 0).toBe(i % 2 === 0);
    log.socket.close();
    const raw = new Raw(await wireTo(at(path)));
    const follow = (id: number) =>
      raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id, credits: 8 * 1024 * 1024 }, { from: "latest" }));
    follow(1);
    follow(2);
    // The answer to an append with the same id must not return the credits of the follow.
    raw.wire.send(encodeFrame({ type: FrameType.APPEND, id: 2, payload: appendPayload([batchOf(["x"])]) }));
    await raw.next(({ id, type }) => id === 2 && type === FrameType.OK);
    follow(3);
    await post(path, "for all");
    for (const id of [1, 2, 3]) await raw.next((frame) => frame.id === id && frame.type === FrameType.BATCHES);
    follow(1);
    expect(jsonOf(await raw.next(({ id, type }) => id === 1 && type === FrameType.ERROR))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    raw.wire.send(encodeFrame({ type: FrameType.CANCEL, id: 2 }));
    await raw.next(({ id, type, credits }) => id === 2 && type === FrameType.OK && credits === 0);
    follow(4);
    raw.wire.send(jsonFrame({ type: FrameType.FETCH, id: 5, credits: 10 }, { from: "latest" }));
    expect((await raw.next(({ id }) => id === 5)).type).toBe(FrameType.BATCHES);
    expect(raw.frames.some(({ id, type }) => id === 4 && type === FrameType.ERROR)).toBe(false);
    raw.wire.close(1000);
  });

  it("a client that never shows that it reads is given up", async () => {
    const path = await make(fresh());
    const raw = new Raw(await wireTo(at(path)), false);
    for (let id = 1; id <= 5000; id++) raw.wire.send(encodeFrame({ type: FrameType.CANCEL, id }));
    expect((await raw.closed).code).toBe(4429);
    const patient = new Raw(await wireTo(at(path)));
    for (let id = 1; id <= 5000; id++) {
      patient.wire.send(encodeFrame({ type: FrameType.CANCEL, id }));
      if (id % 500 === 0) await patient.next((frame) => frame.id === id);
    }
    expect(patient.frames.length).toBeGreaterThanOrEqual(5000);
    patient.wire.close(1000);
  });
});
