/**
 * The socket's client against a server that accepts the connection and then sends nothing: opening rejects with
 * TIMEOUT, and nothing is left behind.
 */
import { createHash } from "node:crypto";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { EdgeSocket, type Wire } from "../../../src/sync/edge-socket.ts";
import { timers } from "../timers.ts";

/** A server that completes the WebSocket handshake and then sends nothing. `closing` resolves when a client closes. */
async function silentServer() {
  const server = http.createServer();
  const sockets: Duplex[] = [];
  let told: () => void;
  const closing = new Promise<void>((resolve) => (told = resolve));
  server.on("upgrade", (request, socket) => {
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ` +
        `${accept}\r\n\r\n`,
    );
    // A client's frames here are short and masked: two bytes, four of the mask, the payload. 0x88 is a close.
    socket.on("data", (bytes: Buffer) => {
      for (let at = 0; at < bytes.length; at += 6 + (bytes[at + 1]! & 0x7f)) if (bytes[at] === 0x88) told();
    });
    socket.on("error", () => {});
    sockets.push(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    sockets,
    closing,
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

async function wireTo(url: string): Promise<Wire> {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", reject, { once: true });
  });
  return socket as Wire;
}

test("a socket of one log, and a log on a socket of many", async () => {
  const server = await silentServer();
  try {
    await expect(EdgeSocket.bind(await wireTo(server.url), { ...timers, helloMs: 50 })).rejects.toMatchObject({
      code: "TIMEOUT",
      kind: "retry",
      details: { ms: 50 },
    });
    // The client has sent a close frame.
    await server.closing;
    const socket = EdgeSocket.connect(await wireTo(server.url), { ...timers, helloMs: 50 });
    await expect(socket.open("orders")).rejects.toMatchObject({ code: "TIMEOUT" });
    // The socket stays open, because another log may still answer.
    const [second] = await Promise.allSettled([socket.open("others")]);
    expect(second).toMatchObject({ reason: { code: "TIMEOUT" } });
    socket.close();
    await expect(socket.open("late")).rejects.toMatchObject({ code: "CLOSED" });
  } finally {
    server.stop();
  }
});

test("the timer is cancelled once a log has answered, or the socket has ended", async () => {
  const cancelled: string[] = [];
  const server = await silentServer();
  try {
    const wire = await wireTo(server.url);
    const binding = EdgeSocket.bind(wire, { after: () => () => void cancelled.push("cancelled") });
    server.sockets[0]!.destroy();
    await expect(binding).rejects.toMatchObject({ code: "CLOSED" });
    expect(cancelled).toEqual(["cancelled"]);
  } finally {
    server.stop();
  }
});
