/** What a token allows on a WebSocket, how a newer one replaces it, and what its end does; inside workerd. */
import { env } from "cloudflare:test";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import type { Env } from "../../worker/env.ts";
import { handle } from "../../worker/front/router.ts";
import { batchOf, bind, TEXT, textsOf, wireTo } from "./socket-tools.ts";
import { timers } from "./timers.ts";

describe("tokens", () => {
  const SECRET = "a secret of at least thirty-two characters";
  const closed: Env = { ...env, TIDEMARK_OPEN_ACCESS: "", TIDEMARK_JWT_SECRETS: SECRET };
  const tokenOf = (scope: string, seconds: number, tenant = "acme"): Promise<string> =>
    new SignJWT({ scope, tenant })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
      .sign(new TextEncoder().encode(SECRET));
  const edge = (request: Request): Promise<Response> => handle(request, closed);
  const open = async (path: string, token: string): Promise<Wire> =>
    wireTo(`https://edge.example${path}?token=${token}`, edge);
  const put = async (path: string): Promise<void> => {
    const request = new Request(`https://edge.example/v1/stream/${path}`, {
      method: "PUT",
      headers: { ...TEXT, authorization: `Bearer ${await tokenOf("write:**", 60)}` },
    });
    expect((await edge(request)).status).toBe(201);
  };

  it("without a token, with one that allows nothing here, and for an unknown log there is no socket", async () => {
    await put("t/closed");
    await expect(wireTo("https://edge.example/v1/stream/t/closed", edge)).rejects.toThrow("401");
    await expect(wireTo("https://edge.example/v1/socket", edge)).rejects.toThrow("401");
    await expect(open("/v1/stream/t/closed", await tokenOf("read:other/*", 60))).rejects.toThrow("403");
    await expect(open("/v1/stream/t/none", await tokenOf("read:**", 60))).rejects.toThrow("404");
  });

  it("each frame needs its scope, each log its pattern", async () => {
    await put("t/scoped");
    await put("t/other");
    const reader = await EdgeSocket.bind(await open("/v1/stream/t/scoped", await tokenOf("read:t/*", 60)), timers);
    await expect(reader.append([batchOf(["x"])])).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    const writer = EdgeSocket.connect(await open("/v1/socket", await tokenOf("write:t/scoped", 60)), timers);
    const log = await writer.open("t/scoped");
    await log.append([batchOf(["x"])]);
    await expect(log.fetch(0)).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    await expect(writer.open("t/other")).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    expect(textsOf({ bytes: await reader.fetch(0) })).toEqual(["x"]);
    reader.socket.close();
    writer.close();
  });

  it("a socket ends with its token, unless a newer one came in time", async () => {
    await put("t/long");
    const [ending, renewed] = [
      await EdgeSocket.bind(await open("/v1/stream/t/long", await tokenOf("read:**", 2)), timers),
      await EdgeSocket.bind(await open("/v1/stream/t/long", await tokenOf("read:**", 2)), timers),
    ];
    expect(await renewed.socket.token(await tokenOf("read:** write:**", 60))).toBeGreaterThan(Date.now() / 1000 + 50);
    const follow = expect(ending.follow("earliest").next()).rejects.toMatchObject({ kind: "reopen" });
    expect((await ending.socket.ended).code).toBe(4401);
    await follow;
    // The newer token's scopes count as well.
    expect(await renewed.append([batchOf(["x"])])).toMatchObject([{ baseOffset: 0 }]);
    renewed.socket.close();
  });

  it("a newer token that is bad, another tenant's, or takes reading away, ends what it no longer allows", async () => {
    await put("t/renew");
    const token = await tokenOf("read:** write:**", 60);
    const socketOf = async () => EdgeSocket.bind(await open("/v1/stream/t/renew", token), timers);
    const [bad, foreign, less] = [await socketOf(), await socketOf(), await socketOf()];
    await expect(bad.socket.token("no token")).rejects.toMatchObject({ details: { edge: "UNAUTHORIZED" } });
    expect((await bad.socket.ended).code).toBe(4401);
    await expect(foreign.socket.token(await tokenOf("read:**", 60, "other"))).rejects.toMatchObject({
      details: { edge: "FORBIDDEN" },
    });
    expect((await foreign.socket.ended).code).toBe(4403);
    const follow = expect(less.follow("earliest").next()).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    await less.fetch("latest");
    await less.socket.token(await tokenOf("write:**", 60)).catch(() => undefined);
    await follow;
    less.socket.close();
  });
});
