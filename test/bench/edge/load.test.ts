/** The bench's connections, where a server closes them between two requests. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { Connection, headOf } from "./load.ts";

it("a request goes over a new connection where the server has closed the old one, or closes it meanwhile", async () => {
  let asked = 0;
  const server = createServer((_, answer) => (asked++, answer.writeHead(204).end())).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const connection = new Connection(port);
  const head = headOf(new URL(`http://127.0.0.1:${port}/`), 1);
  const request = (): Promise<number> => connection.request(head, Buffer.of(0x61));
  try {
    expect(await request()).toBe(204);
    server.closeAllConnections();
    expect(await request()).toBe(204);
    server.closeAllConnections();
    // The close is an event of the other end, which comes within some turns.
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(await request()).toBe(204);
    expect(asked).toBe(3);
    server.close();
    server.closeAllConnections();
    await expect(request()).rejects.toThrow(/ECONNREFUSED|closed/);
  } finally {
    connection.end();
    server.close();
  }
});
