/**
 * A tide lives in one engine: another that is named is refused in every tab, and nothing is made beside what is there.
 */
import { afterEach, describe, expect, it } from "vitest";
import { type Engine, type OpenOptions, open, type Tide, type TidemarkError } from "../../src/browser/index.ts";

let names = 0;
const fresh = () => `engines-${Date.now()}-${names++}`;
const opened: Tide[] = [];
afterEach(async () => {
  for (const tide of opened.splice(0).reverse()) await tide.close();
});
async function tab(name: string, options: OpenOptions = {}): Promise<Tide> {
  const tide = await open(name, { segmentBytes: 64 * 1024, ...options });
  opened.push(tide);
  return tide;
}
const refusal = (name: string, engine?: Engine | "auto"): Promise<TidemarkError> =>
  tab(name, { engine }).then(
    () => Promise.reject(new Error(`${engine} was opened`)),
    (thrown: TidemarkError) => thrown,
  );
const databases = async (): Promise<unknown[]> => (await indexedDB.databases()).map(({ name }) => name);

describe.each([
  ["opfs", ["indexeddb", "memory"]],
  ["indexeddb", ["opfs", "memory"]],
  ["memory", ["opfs", "indexeddb", "auto"]],
] as const)("a tide in %s", (engine, others) => {
  it("is refused by another name of an engine while a tab has it open, and that tab goes on", async () => {
    const name = fresh();
    const first = await tab(name, { engine });
    await first.topic("t").append({ value: 1 });
    for (const other of others) {
      const error = await refusal(name, other);
      expect([error.code, error.kind, error.details["engine"], error.details["asked"]]).toEqual([
        "ENGINE_MISMATCH",
        "fix",
        engine,
        other,
      ]);
      expect(error.message).toContain(engine);
      expect(error.message).toContain(other);
    }
    expect((await first.topic("t").append({ value: 2 })).offset).toBe(1);
    const same = await tab(name, { engine });
    expect([same.role, same.storage.engine]).toEqual(["follower", engine]);
    expect((await same.topic("t").append({ value: 3 })).offset).toBe(2);
  });
});

describe.each([
  ["opfs", ["indexeddb", "memory"]],
  ["indexeddb", ["opfs", "memory"]],
] as const)("a tide stored in %s", (engine, others) => {
  it("is refused by another name of an engine when no tab has it open, and nothing is made beside it", async () => {
    const name = fresh();
    const first = await tab(name, { engine });
    await first.topic("t").append({ value: 1 });
    await first.close();
    for (const other of others) expect((await refusal(name, other)).code).toBe("ENGINE_MISMATCH");
    if (engine === "opfs") expect(await databases()).not.toContain(`tidemark:${name}`);
    const again = await tab(name);
    expect(again.storage.engine).toBe(engine);
    expect((await again.topic("t").append({ value: 2 })).offset).toBe(1);
  });

  it("keeps its segments' size, and says so, whatever is asked for", async () => {
    const name = fresh();
    await (await tab(name, { engine, segmentBytes: 128 * 1024 })).close();
    const first = await tab(name, { segmentBytes: 256 * 1024 });
    const second = await tab(name, { segmentBytes: 512 * 1024 });
    expect([first.storage.segmentBytes, second.storage.segmentBytes]).toEqual([128 * 1024, 128 * 1024]);
  });
});

it("a tide in memory ends with the tab that leads it, in every tab; the next one of its name is new", async () => {
  const name = fresh();
  const first = await tab(name, { engine: "memory" });
  const second = await tab(name, { engine: "memory" });
  const topic = second.topic("t");
  await topic.append({ value: 1 });
  const closed = new Promise((resolve) => second.on((event) => event.type === "closed" && resolve(event.reason)));
  await first.close();
  expect(await closed).toMatch(/gone/);
  await expect(topic.append({ value: 2 })).rejects.toMatchObject({ code: "CLOSED", details: { reason: "cleared" } });
  const third = await tab(name, { engine: "memory" });
  expect((await third.topic("t").append({ value: 3 })).offset).toBe(0);
});
