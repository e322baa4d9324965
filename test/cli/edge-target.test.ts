/** An edge as a target: what a proxy or another site answers in its stead is taken for nothing that an edge says. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { edgeTarget } from "../../cli/edge-target.ts";
import { ownKernel } from "../../cli/targets.ts";

let server: Server;
afterEach(() => server.close());

/** A site that is no edge; `asked` is called for each request. */
async function siteOf(status: number, body: string, asked: () => void = () => undefined) {
  server = createServer((_, response) => {
    asked();
    response.writeHead(status, { "content-type": "text/html" }).end(body);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return edgeTarget(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, undefined, await ownKernel());
}
const SENDING = { since: 0, isResent: false, makes: true };

it.each([404, 403])("a %i that is not the edge's says nothing of a topic: it is asked again", async (status) => {
  let seen = 0;
  let again = (): void => undefined;
  const twice = new Promise<string>((resolve) => (again = () => resolve("asked again")));
  const target = await siteOf(status, "<html>", () => ++seen === 2 && again());
  const end = target.end("t");
  expect(await Promise.race([end, twice])).toBe("asked again");
  await target.close();
  await expect(end).rejects.toMatchObject({ name: "AbortError" });
});

it.each(["", "<html>", "{}", '{"appended":[]}', '{"appended":[{"lastOffset":"7"}]}'])(
  "a success that is not the edge's is none: %s",
  async (body) => {
    const target = await siteOf(200, body);
    await expect(target.end("t")).rejects.toThrow("not from an edge: check the address");
    await expect(target.append("t", new Uint8Array(61), SENDING)).rejects.toThrow("not from an edge");
    await target.close();
  },
);
