/** Changes of the client where its edge has removed what was not read yet, or another topic has the name by then. */
import { expect, it } from "vitest";
import { connect } from "../../src/client/index.ts";
import { formatOffset } from "../../src/sync/http-words.ts";

/** An edge without records, whose log ends at the first of these; each long-poll then finds it as the next one says. */
function edgeOf(...logs: readonly { readonly start: number; readonly end: number }[]) {
  const [log, ...later] = logs;
  let { start, end } = log!;
  const fetch = (url: string): Promise<Response> => {
    const { searchParams } = new URL(url);
    if (searchParams.has("live")) {
      const next = later.shift();
      if (!next) return new Promise(() => undefined);
      ({ start, end } = next);
    }
    const offset = Number((searchParams.get("offset") ?? formatOffset(start)).slice(0, 16));
    if (offset < start || offset > end) {
      const details = { offset, logStartOffset: start, logEndOffset: end };
      const error = { code: "OFFSET_OUT_OF_RANGE", message: "not there", details };
      return Promise.resolve(new Response(JSON.stringify({ error }), { status: offset < start ? 410 : 416 }));
    }
    const headers = {
      "stream-next-offset": formatOffset(end),
      "tidemark-start-offset": formatOffset(start),
      "stream-up-to-date": "true",
    };
    return Promise.resolve(new Response(null, { headers }));
  };
  return connect("https://edge.example", { fetch, transport: "http" });
}

async function told(edge: ReturnType<typeof edgeOf>, from?: number): Promise<string[]> {
  const found: string[] = [];
  for await (const change of edge.topic("t").changes({ from })) {
    if (change.type === "gap") found.push(`gap ${change.from} ${change.to}`);
    if (change.type === "reset") found.push(`reset ${change.logStartOffset}`);
    if (change.type === "level" && found.push(`level ${change.watermark}`) >= 3) break;
  }
  await edge.close();
  return found;
}

it("what was removed before it was read is a gap, and the reader goes on behind it", async () => {
  expect(await told(edgeOf({ start: 0, end: 3 }, { start: 5, end: 6 }))).toEqual(["level 3", "gap 3 5", "level 6"]);
});

it("a log that ends before the reader's offset is another one", async () => {
  expect(await told(edgeOf({ start: 0, end: 9 }, { start: 1, end: 2 }))).toEqual(["level 9", "reset 1", "level 2"]);
});

it("an offset of the caller's that is not in the log is an error", async () => {
  await expect(told(edgeOf({ start: 4, end: 9 }), 3)).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
});
