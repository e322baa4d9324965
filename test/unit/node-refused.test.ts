/** What a tide over files does when its file system refuses, and with input that only plain JavaScript gives. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmdirSync } from "node:fs";
import path from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import type { SegmentExport } from "../../src/browser/api.ts";
import type { BrowserTopic } from "../../src/browser/page/browser-topic.ts";
import { TidemarkError } from "../../src/errors.ts";
import { FileVolume, slotFile, slotsIn } from "../../src/node/file-volume.ts";
import { open } from "../../src/node/index.ts";
import { fails } from "../contract/check.ts";
import { foldersOf, SMALL, valuesOf } from "../support/node-folders.ts";

const { home, newFolder } = foldersOf("refused");
afterEach(() => void vi.restoreAllMocks());

it.skipIf(spawnSync("mkfifo", ["--version"]).status !== 0)(
  "a lock that takes no text, as on a full disk, keeps no folder from being opened and trimmed",
  async () => {
    const folder = newFolder();
    mkdirSync(folder, { recursive: true });
    // A pipe can be locked, and can't be cut.
    expect(spawnSync("mkfifo", [path.join(folder, "lock")]).status).toBe(0);
    const tide = await open(folder, SMALL);
    await tide.topic("t").append({ value: 1 });
    await tide.topic("t").trim(1);
    await tide.close();
  },
);

it("a file that can't be read fails the call that needs it, and is read once it can be", async () => {
  const folder = newFolder();
  let tide = await open(folder, SMALL);
  for (const name of ["hurt", "well"]) {
    await tide.topic(name).append({ value: name });
    await tide.topic(name).roll();
  }
  await tide.topic("hurt").append({ value: "later" });
  const [hurt] = (await tide.topic("hurt").state()).segments;
  await tide.close();
  tide = await open(folder, SMALL);
  const file = path.join(folder, slotFile(hurt!.slot!));
  renameSync(file, `${file}.away`);
  mkdirSync(file);
  const topic = tide.topic("hurt");
  const calls = [valuesOf(topic), topic.append({ value: "refused" }), topic.trim(1)];
  for (const refused of await Promise.all(calls.map((call) => fails("STORAGE_FAILED", call))))
    expect(refused.message).toMatch(/EISDIR/);
  expect(await valuesOf(tide.topic("well"))).toEqual(["well"]);
  rmdirSync(file);
  renameSync(`${file}.away`, file);
  await topic.append({ value: "taken" });
  expect(await valuesOf(topic)).toEqual(["hurt", "later", "taken"]);
  await tide.close();
});

it("a slot that can't be made refuses appends for certain, and takes them in order once it can be", async () => {
  const folder = newFolder();
  const tide = await open(folder, SMALL);
  const topic = tide.topic<Uint8Array>("t", { serializer: "bytes" });
  const value = (i: number): Uint8Array => new Uint8Array(30_000).fill(i);
  await topic.append({ value: value(0) });
  vi.spyOn(FileVolume.prototype, "addSlots").mockImplementation(() =>
    Promise.reject(new TidemarkError("STORAGE_FAILED", "EACCES: permission denied")),
  );
  const acked = [0];
  const append = async (i: number): Promise<unknown> => {
    await topic.append({ value: value(i) });
    return acked.push(i);
  };
  let thrown: unknown;
  for (let i = 1; !thrown; i++) await append(i).catch((error: unknown) => (thrown = error));
  expect(thrown).toMatchObject({ code: "STORAGE_FAILED", message: expect.stringContaining("EACCES") as unknown });
  const outcomes = await Promise.allSettled([append(101), append(102)]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  vi.restoreAllMocks();
  await Promise.all([append(201), append(202)]);
  expect((await valuesOf(topic)).map((bytes) => bytes![0])).toEqual(acked);
  await tide.close();
});

it("a refusal that passes is not told: the append and the read go through", async () => {
  const tide = await open(newFolder(), SMALL);
  const topic = tide.topic<string>("t");
  await topic.append({ value: "a" });
  const read = vi.spyOn(FileVolume.prototype, "read");
  const refused = new TidemarkError("STORAGE_FAILED", "EIO");
  for (let times = 0; times < 3; times++) read.mockImplementationOnce(() => Promise.reject(refused));
  expect(await valuesOf(topic)).toEqual(["a"]);
  expect(read.mock.calls.length).toBeGreaterThan(3);
  await tide.close();
});

it("a tide whose last flush fails says so, and lets go of its folder", async () => {
  const folder = newFolder();
  const tide = await open(folder, SMALL);
  for (const name of ["a", "b"]) await tide.topic(name).append({ value: name });
  vi.spyOn(FileVolume.prototype, "flush").mockImplementationOnce(() =>
    Promise.reject(new TidemarkError("STORAGE_FAILED", "EIO")),
  );
  await fails("STORAGE_FAILED", tide.close());
  const again = await open(folder, SMALL);
  expect([await valuesOf(again.topic("a")), await valuesOf(again.topic("b"))]).toEqual([["a"], ["b"]]);
  await again.close();
});

it("after the clock went back, a disk that was full is tried again", async () => {
  const folder = newFolder();
  const tide = await open(folder, SMALL);
  const topic = tide.topic<string>("t");
  await topic.append({ value: "a" });
  const full = new TidemarkError("QUOTA_EXCEEDED", "ENOSPC");
  const write = vi.spyOn(FileVolume.prototype, "write").mockImplementation(() => Promise.reject(full));
  await fails("QUOTA_EXCEEDED", topic.append({ value: "b" }));
  await fails("QUOTA_EXCEEDED", topic.append({ value: "c" }));
  write.mockRestore();
  const back = Date.now() - 3_600_000;
  vi.spyOn(Date, "now").mockImplementation(() => back);
  // The first one finds the store as it was, and has it opened again.
  await topic.append({ value: "d" }).catch(() => undefined);
  await topic.append({ value: "e" });
  expect((await valuesOf(topic)).at(-1)).toBe("e");
  await tide.close();
});

it("records of no bytes are waited for by drained() and close(), also behind middleware", async () => {
  for (const isTyped of [false, true]) {
    const tide = await open(newFolder(), SMALL);
    const topic = tide.topic<string>("t", { serializer: "text" });
    if (isTyped) topic.use((_, next) => next());
    let acked = 0;
    const append = (value: string | null): Promise<unknown> => topic.append({ value }).then(() => acked++);
    const first = append("");
    await (topic as BrowserTopic<string>).drained();
    await first;
    const last = [append(null), append("")];
    await tide.close();
    await Promise.all(last);
    expect(acked).toBe(3);
  }
});

it("topics may be named like members of every object, and like the log aside of an import", async () => {
  const tide = await open(newFolder(), SMALL);
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty", "__import"]) {
    await tide.topic(name).append({ value: name });
    expect((await tide.topic(name).state()).settings).toEqual({});
  }
  const source = tide.topic("source");
  await source.append({ value: 1 });
  await source.roll();
  const files = [];
  for await (const segment of source.export()) files.push(segment);
  expect(await tide.topic("target").importSegments(files)).toMatchObject({ records: 1 });
  expect(await valuesOf(tide.topic("__import"))).toEqual(["__import"]);
  await tide.close();
});

it("an import takes what can be walked once, and names a file that is gone or shorter by now", async () => {
  const tide = await open(newFolder(), SMALL);
  const source = tide.topic("source");
  await source.append({ value: 1 });
  await source.roll();
  const files: SegmentExport[] = [];
  for await (const segment of source.export()) files.push(segment);
  const log = new Uint8Array(files[0]!.log);
  const gone = new Blob([log]);
  vi.spyOn(gone, "slice").mockImplementation(() => {
    const part = new Blob();
    vi.spyOn(part, "arrayBuffer").mockRejectedValue(new DOMException("it was changed", "NotReadableError"));
    return part;
  });
  const shorter = new Blob([log]);
  vi.spyOn(shorter, "slice").mockImplementation(() => new Blob([log.subarray(1)]));
  const target = tide.topic("target");
  const refused = async (file: Blob): Promise<unknown> =>
    (await fails("INVALID_ARGUMENT", target.importSegments([file]))).details;
  expect(await refused(gone)).toMatchObject({ field: "files[0]" });
  expect(await refused(shorter)).toMatchObject({ field: "files" });
  const getter = {
    get log(): Uint8Array {
      throw new Error("no");
    },
  };
  const wrong = fails("INVALID_ARGUMENT", target.importSegments([log, getter]));
  expect((await wrong).details["field"]).toBe("files[1]");
  const generator = (function* () {
    yield* files;
  })();
  expect(await target.importSegments(generator)).toMatchObject({ records: 1 });
  await tide.close();
});

it("a URL that is no path here is refused by name, and nothing is made", async () => {
  const before = readdirSync(home);
  for (const url of ["file://host/x", "file:///a%2Fb", "https://host/x"])
    expect((await fails("INVALID_ARGUMENT", open(new URL(url)))).details["field"]).toBe("folder");
  expect(readdirSync(home)).toEqual(before);
});

it("upkeep that is still to come keeps no process alive", async () => {
  const timers = vi.spyOn(globalThis, "setTimeout");
  const folder = newFolder();
  const tide = await open(folder, SMALL);
  await tide.topic("t").append({ value: 1 });
  const waiting = timers.mock.results.map(({ value }) => value as NodeJS.Timeout);
  expect(timers.mock.calls.map(([, ms]) => ms)).toContain(2_000);
  expect(waiting.filter((timer) => timer.hasRef())).toEqual([]);
  expect(slotsIn(folder).length).toBeGreaterThan(2);
  await tide.close();
});
