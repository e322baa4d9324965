/** Snapshots of views: an opening resumes at one instead of folding from the start, and only at one that is right. */
import { expect, it } from "vitest";
import { open, type Tide } from "../../src/browser/index.ts";

let names = 0;
const fresh = () => `snapshots-${Date.now()}-${names++}`;
const LOG = "__snapshots";

async function over<T>(
  name: string,
  work: (tide: Tide) => Promise<T>,
  segmentBytes: 65_536 | 2_097_152 = 2_097_152,
): Promise<T> {
  const tide = await open(name, { segmentBytes });
  try {
    return await work(tide);
  } finally {
    await tide.close();
  }
}

interface Sum {
  readonly sum: number;
  readonly filling?: string;
}

/** A view that counts what it applies. */
function summing(
  tide: Tide,
  more: { version?: number; filling?: string; gap?: () => "restart"; everyRecords?: number; everyMs?: number } = {},
) {
  const { version = 1, filling = "", gap, ...snapshot } = more;
  let applied = 0;
  const view = tide
    .topic<number>("t")
    .view<Sum>({
      name: "sum",
      version,
      initial: () => ({ sum: 0 }),
      apply: ({ sum }, { value }) => (applied++, { sum: sum + value!, filling }),
      snapshot,
      ...(gap && { gap }),
    });
  return { view, applied: () => applied };
}
const append = (tide: Tide, count: number) =>
  tide.topic<number>("t").appendBatch(Array.from({ length: count }, () => ({ value: 1 })));

/** What is in the topic of snapshots: keys, and the headers of last parts. */
async function written(tide: Tide) {
  const found: { key: string; bytes: number; headers: Record<string, string | null>; value: Uint8Array }[] = [];
  for await (const { key, valueBytes, headers } of tide.topic<Uint8Array>(LOG, { serializer: "bytes" }).read())
    found.push({ key: key!, bytes: valueBytes!.length, headers: { ...headers }, value: valueBytes!.slice() });
  return found;
}

it("an opening applies only what came since; slots take turns, and the topic is the library's own", async () => {
  const name = fresh();
  await over(name, async (tide) => {
    await append(tide, 100);
    const { view } = summing(tide);
    await view.save();
    await view.save();
    await append(tide, 10);
    await new Promise<void>((resolve) => view.subscribe(({ sum }) => sum === 110 && resolve()));
    await view.save();
    expect((await written(tide)).map(({ key, headers }) => [key.split("\0").slice(1), headers["offset"]])).toEqual([
      [["sum", "1", "0", "0"], "100"],
      [["sum", "1", "1", "0"], "110"],
    ]);
    expect(await tide.topics()).toEqual(["t"]);
  });
  await over(name, async (tide) => {
    await append(tide, 5);
    const { view, applied } = summing(tide);
    await view.ready();
    expect([view.current.sum, view.committed.sum, applied(), view.at]).toEqual([
      115,
      115,
      5,
      { offset: 115, provisional: 0 },
    ]);
    // Another version folds from the start.
    const other = summing(tide, { version: 2 });
    await other.view.ready();
    expect([other.view.current.sum, other.applied()]).toEqual([115, 115]);
    await expect(
      tide
        .topic("t")
        .view({ name: "none", initial: () => 0, apply: (n) => n })
        .save(),
    ).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

it("one that is torn, of the future, of another log or unreadable does not count; the older one does", async () => {
  const name = fresh();
  await over(name, async (tide) => {
    await append(tide, 50);
    const { view } = summing(tide, { filling: "x".repeat(1_300_000) });
    await view.save();
    const parts = await written(tide);
    expect(parts.map(({ bytes }) => bytes)).toEqual([524_288, 524_288, expect.any(Number)]);
    await append(tide, 10);
    const log = tide.topic<Uint8Array>(LOG, { serializer: "bytes" });
    const key = (slot: number, part: number) => ["t", "sum", 1, slot, part].join("\0");
    const resumed = async (gap?: () => "restart") => {
      const again = summing(tide, gap && { gap });
      await again.view.ready();
      again.view.close();
      return [again.view.current.sum, again.applied()];
    };
    expect(await resumed()).toEqual([60, 10]);
    const last = parts[2]!;
    const head = (more: object) => ({ ...last.headers, ...more }) as Record<string, string>;
    // The first part of a newer one, and no more.
    await log.append({ key: key(1, 0), value: new Uint8Array(10) });
    expect(await resumed()).toEqual([60, 10]);
    const put = async (more: object) => {
      for (const part of [0, 1]) await log.append({ key: key(1, part), value: parts[part]!.value });
      await log.append({ key: key(1, 2), value: last.value, headers: head(more) });
    };
    // Whole, and behind the end of the log.
    await put({ offset: "70" });
    expect(await resumed()).toEqual([60, 10]);
    await put({ offset: "55", stream: "another" });
    expect(await resumed()).toEqual([60, 10]);
    await put({ offset: "55", crc: "1" });
    expect(await resumed()).toEqual([60, 10]);
    // It would count if all were right.
    await put({ offset: "55" });
    expect(await resumed()).toEqual([55, 5]);
    // The log begins behind both: the view is told of a gap, as one that was open all the time.
    await tide.topic("t").roll();
    await append(tide, 1);
    await tide.topic("t").trim(60);
    expect(await resumed()).toEqual([51, 1]);
    expect(await resumed(() => "restart")).toEqual([1, 1]);
  });
});

it("is written by itself, by one tab, and does not outlive its topic", async () => {
  const name = fresh();
  await over(name, async (tide) => {
    await append(tide, 30);
    const { view } = summing(tide, { everyRecords: 10 });
    await view.ready();
    while ((await written(tide)).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    view.close();
    await tide.deleteTopic("t");
    await append(tide, 40);
    const again = summing(tide);
    await again.view.ready();
    expect([again.view.current.sum, again.applied()]).toEqual([40, 40]);
  });
});

it("of a state that is larger than a batch of its tide is in more parts", async () => {
  const name = fresh();
  const small = 65_536;
  const filling = "y".repeat(200_000);
  await over(
    name,
    async (tide) => {
      await append(tide, 3);
      await summing(tide, { filling }).view.save();
      expect((await written(tide)).length).toBeGreaterThan(3);
    },
    small,
  );
  await over(
    name,
    async (tide) => {
      const { view, applied } = summing(tide);
      await view.ready();
      expect([view.current, applied()]).toEqual([{ sum: 3, filling }, 0]);
    },
    small,
  );
});
