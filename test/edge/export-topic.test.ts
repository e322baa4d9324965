/** openTopic().export() and .trim(), inside workerd: a whole log as Kafka's segments, and its front removed. */
import { env } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { openTopic } from "../../worker/library.ts";
import { fails } from "../contract/check.ts";
import { range, timeAt, valueAt } from "../support/kafka-batches.ts";
import { call, fill, readAll, settle } from "./archive-tools.ts";
import { batches, FILES, first, fresh, offsetsOf, second, textTopic } from "./import-tools.ts";

async function exported(path: string, options?: { leaderEpoch?: number }) {
  const files = [];
  for await (const file of textTopic(path).export(options)) files.push(file);
  return files;
}
const offset = (at: number): string => `${String(at).padStart(16, "0")}_${"0".repeat(16)}`;

describe("openTopic().export()", () => {
  it("gives what import took, byte for byte but for the epoch, and another log takes it with its offsets", async () => {
    const [path, copy] = [fresh(), fresh()];
    await textTopic(path).importSegments(FILES);
    const files = await exported(path);
    expect(files.map(({ name }) => name)).toEqual(["00000000000000000100"]);
    expect(files[0]!.log.length).toBe(first.length + second.length);
    expect(files[0]!.index.length * files[0]!.timeindex.length).toBeGreaterThan(0);
    expect((await exported(path, { leaderEpoch: 5 }))[0]!.log[15]).toBe(5);
    await textTopic(copy).importSegments(files);
    expect(await offsetsOf(copy)).toEqual(range(100, 280));
    // What comes later is not in it; what is not there at all is nothing.
    await textTopic(path).append({ value: valueAt(280, 1000), timestamp: timeAt(280) });
    expect((await exported(path))[0]!.log.length).toBeGreaterThan(files[0]!.log.length);
    expect(await exported(fresh())).toEqual([]);
    for (const leaderEpoch of [-1, 2 ** 31, "1"])
      expect(() => textTopic(path).export({ leaderEpoch: leaderEpoch as never })).toThrow("leaderEpoch");
  });

  it("comes in several segments, also from object storage; what is trimmed meanwhile is left out", async () => {
    const path = fresh();
    await call(path, "PUT");
    const text = await fill(path, 4);
    await settle(path);
    const source = openTopic<string>(env, path, { serializer: "text" });
    const segments = source.export();
    const before = (await segments.next()).value!;
    const end = (await source.state())!.logEndOffset;
    // Behind the first segment, and into the middle of what is left.
    await source.trim(end - 2);
    const rest = [];
    for await (const file of segments) rest.push(file);
    expect([before.name, rest.map(({ name }) => Number(name))]).toEqual(["0".repeat(20), [end - 2]]);
    const copy = fresh();
    await openTopic(env, copy, { serializer: "text" }).importSegments([before, ...rest]);
    const values: string[] = [];
    for await (const { value } of openTopic<string>(env, copy, { serializer: "text" }).read()) values.push(value!);
    expect(text.startsWith(values.slice(0, -2).join(""))).toBe(true);
    expect(text.endsWith(values.slice(-2).join(""))).toBe(true);
  });

  it("ends as UNKNOWN_TOPIC when the log is deleted under it", async () => {
    const path = fresh();
    await call(path, "PUT");
    await fill(path, 3);
    const segments = openTopic(env, path).export();
    await segments.next();
    await call(path, "DELETE");
    await fails("UNKNOWN_TOPIC", segments.next());
  });
});

describe("openTopic().trim()", () => {
  it("removes what is before the offset; refusals are typed", async () => {
    const path = fresh();
    const topic = textTopic(path);
    await fails("UNKNOWN_TOPIC", topic.trim(0));
    await topic.importSegments([batches(0, 30)]);
    await topic.trim(7);
    await topic.trim(3);
    expect(await topic.state()).toEqual({ logStartOffset: 7, logEndOffset: 30, closed: false });
    expect(await offsetsOf(path)).toEqual(range(7, 30));
    const { details } = await fails("OFFSET_OUT_OF_RANGE", topic.trim(31));
    expect(details).toMatchObject({ logStartOffset: 7, logEndOffset: 30 });
    for (const wrong of [-1, 1.5, "7", undefined])
      expect((await fails("INVALID_ARGUMENT", topic.trim(wrong as never))).details).toMatchObject({ field: "offset" });
    // Whole batches: the first one begins before the start.
    expect((await exported(path)).map(({ name }) => Number(name))).toEqual([6]);
    const fork = fresh();
    await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${path}` });
    expect((await fails("INVALID_ARGUMENT", topic.trim(8))).details).toMatchObject({ reason: "held" });
    await textTopic(fork).trim(9);
    expect([await offsetsOf(fork), await offsetsOf(path)]).toEqual([range(9, 30), range(7, 30)]);
  });
});

describe("a trim of a fork", () => {
  it("before its fork point hides what it has of its source, behind it removes its own records as well", async () => {
    const [source, fork] = [fresh(), fresh()];
    for (const text of ["a", "b", "c"]) {
      if (text === "a") await call(source, "PUT");
      await call(source, "POST", {}, text);
    }
    await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${source}` });
    for (const text of ["D", "E"]) await call(fork, "POST", {}, text);
    const trim = async (at: number) => {
      const { status, headers } = await call(fork, "POST", { "tidemark-trim-before": offset(at) });
      return [status, headers.get("tidemark-start-offset"), headers.get("stream-next-offset")];
    };
    expect(await trim(1)).toEqual([204, offset(1), offset(5)]);
    expect([await readAll(fork), await readAll(source)]).toEqual(["bcDE", "abc"]);
    expect(await trim(0)).toEqual([204, offset(1), offset(5)]);
    const gone = await call(`${fork}?offset=${offset(0)}`, "GET");
    expect([gone.status, gone.headers.get("stream-next-offset")]).toEqual([410, offset(1)]);
    expect(await trim(3)).toEqual([204, offset(3), offset(5)]);
    expect(await readAll(fork)).toBe("DE");
    expect(await trim(4)).toEqual([204, offset(4), offset(5)]);
    expect([await readAll(fork), await readAll(source)]).toEqual(["E", "abc"]);
    // Its source goes: what is left begins where it began before.
    await call(source, "DELETE");
    expect([await readAll(fork), (await call(fork, "HEAD")).headers.get("tidemark-start-offset")]).toEqual([
      "E",
      offset(4),
    ]);
    expect(await trim(6).then(([status]) => status)).toBe(416);
  });
});
