/**
 * Whose outbox it is, inside workerd: tokens as subprotocols of a WebSocket, owners by tenant and subject, rights, and
 * renewals.
 */
import { env } from "cloudflare:test";
import { SignJWT } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { encodeFrame, FrameType, jsonOf } from "../../src/sync/frames.ts";
import type { Env } from "../../worker/env.ts";
import { handle } from "../../worker/front/router.ts";
import { crcOf, type Device } from "./outbox-device.ts";
import { batchAt, connect } from "./outbox-tools.ts";

const SECRET = "a secret of at least thirty-two characters";
const closed: Env = { ...env, TIDEMARK_OPEN_ACCESS: "", TIDEMARK_JWT_SECRETS: SECRET };
const edge = (request: Request): Promise<Response> => handle(request, closed);
const ALL = "read:** write:**";
const WEEK_S = 7 * 86_400;

function tokenOf(sub: string | undefined, scope = ALL, tenant = "acme", seconds = WEEK_S): Promise<string> {
  const token = new SignJWT({ scope, tenant })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + seconds);
  return (sub === undefined ? token : token.setSubject(sub)).sign(new TextEncoder().encode(SECRET));
}

let logs = 0;
async function made(tenant = "acme"): Promise<string> {
  const path = `outbox-tokens/${++logs}`;
  const authorization = `Bearer ${await tokenOf(undefined, ALL, tenant)}`;
  const headers = { "content-type": "text/plain", authorization };
  const response = await edge(new Request(`https://edge.example/v1/stream/${path}`, { method: "PUT", headers }));
  expect(response.status).toBe(201);
  return path;
}

const deviceOf = async (path: string, token: string): Promise<Device> => connect(path, token, edge);

async function ownerOf(tenant: string, sub: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${tenant}\0${sub}`));
  const text = btoa(String.fromCharCode(...new Uint8Array(digest).subarray(0, 9)));
  return text.replaceAll("+", "-").replaceAll("/", "_");
}

const upgradeWith = async (protocols: string): Promise<Response> => {
  const headers = { upgrade: "websocket", "sec-websocket-protocol": protocols };
  return edge(new Request(`https://edge.example/v1/stream/${await made()}`, { headers }));
};

afterEach(() => void vi.restoreAllMocks());

describe("a token as a subprotocol", () => {
  it("is taken however long it lives, and only the dialect's name is answered", async () => {
    const device = await deviceOf(await made(), await tokenOf("ann"));
    expect(device.subprotocol).toBe("tidemark.1");
    expect(await device.join()).toMatchObject({ known: true });
  });

  it.each([
    ["tidemark.1", 401],
    ["tidemark.1, bearer.", 401],
    ["tidemark.1, bearer.x.y.z", 401],
    ["tidemark.2, bearer.TOKEN", 401],
    ["bearer.TOKEN", 401],
    ["chat,tidemark.1,bearer.TOKEN", 101],
    ["bearer.TOKEN, tidemark.1", 101],
  ])("%s is answered with %i", async (protocols, status) => {
    const response = await upgradeWith(protocols.replace("TOKEN", await tokenOf("ann")));
    expect(response.status).toBe(status);
    expect(response.headers.get("sec-websocket-protocol")).toBe(status === 101 ? "tidemark.1" : null);
    const { webSocket } = response as typeof response & { webSocket: { accept(): void; close(): void } | null };
    webSocket?.accept();
    webSocket?.close();
  });

  it("lets none in who has a bad one in the header as well, or whose own has ended", async () => {
    const path = await made();
    await expect(deviceOf(path, await tokenOf("ann", ALL, "acme", -60))).rejects.toThrow("401");
    const protocol = `tidemark.1, bearer.${await tokenOf("ann")}`;
    const headers = { upgrade: "websocket", "sec-websocket-protocol": protocol, authorization: "Bearer nonsense" };
    expect((await edge(new Request(`https://edge.example/v1/stream/${path}`, { headers }))).status).toBe(401);
  });

  it("is in no event and no line of the log", async () => {
    const lines: unknown[] = [];
    const [log, error] = [vi.spyOn(console, "log"), vi.spyOn(console, "error")];
    for (const spy of [log, error]) spy.mockImplementation((...line: unknown[]) => void lines.push(...line));
    const token = await tokenOf("ann");
    const device = await deviceOf(await made(), token);
    await device.join();
    await device.push([batchAt(0, ["a "])]);
    await device.push([batchAt(5, ["a "])]);
    await upgradeWith(`tidemark.1, bearer.${token}x`);
    expect(lines.length).toBeGreaterThan(0);
    const text = lines.map(String).join("\n");
    expect(text).toContain('"outbox":"012345"');
    for (const secret of [token, token.split(".")[2]!, "0123456789abcdef"]) expect(text).not.toContain(secret);
  });
});

describe("an owner", () => {
  it("is made of tenant and subject, and told by every join", async () => {
    const path = await made();
    expect((await (await deviceOf(path, await tokenOf("ann"))).join()).owner).toBe(await ownerOf("acme", "ann"));
    const nobody = await (await deviceOf(path, await tokenOf(undefined))).join({ outbox: null });
    expect(nobody.owner).toBe(await ownerOf("acme", ""));
    const elsewhere = await (await deviceOf(await made("b"), await tokenOf("ann", ALL, "b"))).join();
    expect(elsewhere.owner).toBe(await ownerOf("b", "ann"));
  });

  it("is alone in joining, pushing from and claiming its outbox; nobody else's standing counts", async () => {
    const path = await made();
    const ann = await deviceOf(path, await tokenOf("ann"));
    await ann.join();
    const bob = await deviceOf(path, await tokenOf("bob"));
    const refused = await bob.join({ registered: true, generation: 9, term: 9 });
    expect(refused).toMatchObject({ code: "FORBIDDEN", known: false, owner: await ownerOf("acme", "bob") });
    const batch = batchAt(0, ["a "]);
    expect(await bob.push([batch])).toMatchObject({ code: "FORBIDDEN" });
    expect(await bob.push([batch], { readTo: 0 })).toMatchObject({ code: "FORBIDDEN" });
    expect(await ann.push([batch])).toMatchObject({ generation: 1, next: 1 });
    // Another device of the same person is the same owner.
    const phone = await deviceOf(path, await tokenOf("ann"));
    expect(await phone.join({ registered: true, term: 2 })).toMatchObject({ next: 1, lastCrc: crcOf(batch) });
  });

  it("who renews a socket's token stays; where the new token is another's, what was joined ends", async () => {
    const path = await made();
    const device = await deviceOf(path, await tokenOf("ann"));
    await device.join();
    const renew = async (token: string): Promise<unknown> => {
      const payload = new TextEncoder().encode(token);
      device.wire.send(encodeFrame({ type: FrameType.TOKEN, channel: 0xffff, id: 77, payload }));
      const isAnswer = ({ channel, type }: { channel: number; type: number }): boolean =>
        channel === 0xffff && type === FrameType.OK;
      return jsonOf(await device.next(isAnswer));
    };
    await renew(await tokenOf("ann", "write:**"));
    expect(await device.push([batchAt(0, ["a "])])).toMatchObject({ next: 1 });
    await renew(await tokenOf("bob"));
    expect(await device.end()).toMatchObject({ code: "FORBIDDEN" });
    expect(await device.push([batchAt(1, ["a "])])).toMatchObject({ code: "CLOSED" });
  });
});

describe("rights", () => {
  it("without write: a join registers nothing, and a push is refused before the log hears of it", async () => {
    const path = await made();
    const reader = await deviceOf(path, await tokenOf("ann", "read:**"));
    expect(await reader.join()).toMatchObject({ known: false, lineage: "same" });
    expect(await reader.push([batchAt(0, ["a "])])).toMatchObject({ code: "FORBIDDEN" });
    // What another device of this owner has registered is told.
    await (await deviceOf(path, await tokenOf("ann"))).join();
    expect(await reader.join({ registered: true })).toMatchObject({ known: true, next: 0 });
  });

  it("without read: a device joins and drains, and follows nothing", async () => {
    const writer = await deviceOf(await made(), await tokenOf("ann", "write:**"));
    await writer.join();
    expect(await writer.push([batchAt(0, ["a "])])).toMatchObject({ next: 1 });
    const id = writer.follow(0);
    const refused = await writer.next((frame) => frame.id === id && frame.type === FrameType.ERROR);
    expect(jsonOf(refused)).toMatchObject({ code: "FORBIDDEN" });
  });
});
