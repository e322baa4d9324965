/**
 * Work that follows an import is planned before its last piece is stored: the object may end between the two, and then
 * its alarm tells subscriptions. Histories of the edge have found that it did not (76181).
 */
import { expect, it } from "vitest";
import { answerImport, type ImportHost } from "../../worker/log-object/import-requests.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { Stream } from "../../worker/stream/stream.ts";
import { batchAt } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";
import { nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const kernel = await releaseKernel();
const FILE = batchAt(kernel, 5, 3, 100);

it("an import is told by the alarm, if the object ends right behind its last piece", async () => {
  const stream = await Stream.create(
    {
      sql: nodeSql(),
      kernel,
      archive: new Archive(undefined, kernel),
      now: () => 1_000,
      breathe: () => Promise.resolve(),
      readSource: () => Promise.reject(new Error()),
      onChange: () => undefined,
      onSealed: () => undefined,
      abort: (reason) => expect.fail(reason),
    },
    STREAM_CONFIG,
  );
  const seen: string[] = [];
  const host: ImportHost = {
    life: {
      exclusive: (work) => work(),
      visible: async () => stream,
      renewed: async () => (seen.push("stored"), stream),
    },
    plan: () => void seen.push("planned"),
    filled: () => void seen.push("told"),
  };
  const send = async (query: string, type: string, body: Uint8Array | string): Promise<{ import: string }> => {
    const headers = { "content-type": `application/vnd.tidemark.${type}` };
    const request = new Request(`http://edge/${query}`, { method: "POST", headers, body: body as BodyInit });
    return (await (await answerImport(request, host)).json()) as { import: string };
  };
  const asked = JSON.stringify({ files: [{ name: "0.log", bytes: FILE.length }] });
  const { import: id } = await send("", "import+json", asked);
  seen.length = 0;
  await send(`?import=${id}&file=0&position=0`, "import-piece", FILE);
  expect(seen).toEqual(["planned", "stored", "told", "planned"]);
});
