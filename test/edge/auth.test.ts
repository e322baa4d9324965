/** Tokens, scopes and hostile requests, inside workerd, with open access off. */
import { env } from "cloudflare:test";
import { base64url, generateKeyPair, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import type { Env } from "../../worker/env.ts";
import { handle } from "../../worker/front/router.ts";

const SECRET = "a secret of at least thirty-two characters";
const OLD = "the secret before it is long enough to be taken";
const closed: Env = {
  ...env,
  TIDEMARK_OPEN_ACCESS: "",
  TIDEMARK_JWT_SECRETS: `${SECRET}, ${OLD}`,
  TIDEMARK_JWT_ISSUER: "issuer",
  TIDEMARK_JWT_AUDIENCE: "tidemark",
};

interface TokenOptions {
  readonly tenant?: string | null;
  readonly seconds?: number | null;
  readonly secret?: string;
  readonly issuer?: string;
  readonly audience?: string;
}

function tokenOf(
  scope: string,
  { tenant = "acme", seconds = 60, secret = SECRET, issuer = "issuer", audience = "tidemark" }: TokenOptions = {},
): Promise<string> {
  const jwt = new SignJWT({ scope, ...(tenant !== null && { tenant }) })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt();
  if (seconds !== null) jwt.setExpirationTime(Math.floor(Date.now() / 1000) + seconds);
  return jwt.sign(new TextEncoder().encode(secret));
}

async function ask(
  method: string,
  path: string,
  token?: string,
  init: RequestInit = {},
  settings = closed,
): Promise<Response> {
  const headers = new Headers(init.headers);
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  if (method === "PUT" || method === "POST") headers.set("content-type", headers.get("content-type") ?? "text/plain");
  return handle(new Request(`https://edge.example/v1/stream/${path}`, { ...init, method, headers }), settings);
}

const codeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { code: string } }).error.code;

describe("tokens", () => {
  it("a follow of lines ends with its token, and says where to read on", async () => {
    await ask("PUT", "orders/follow", await tokenOf("write:**"), { body: "x" });
    // Within the tolerance for clocks, so that nothing has to be waited for.
    const token = await tokenOf("read:**", { seconds: -2 });
    const [line, last] = (await (await ask("GET", "orders/follow?from=0&follow", token)).text()).trim().split("\n");
    expect(JSON.parse(line!)).toMatchObject({ offset: 0, value: "x" });
    expect(JSON.parse(last!)).toMatchObject({
      error: { code: "UNAUTHORIZED", message: expect.stringMatching(/from=1$/) as string },
    });
  });

  it("without one every request is refused, with a code, and nothing is made", async () => {
    for (const method of ["GET", "PUT", "POST", "DELETE"]) {
      const response = await ask(method, "orders/1");
      expect([response.status, await codeOf(response)]).toEqual([401, "UNAUTHORIZED"]);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  it("open access is for loopback only", async () => {
    const open = { ...closed, TIDEMARK_OPEN_ACCESS: "loopback" };
    expect((await ask("PUT", "orders/open", undefined, {}, open)).status).toBe(401);
    const local = (headers: Record<string, string> = {}) =>
      handle(new Request("http://127.0.0.1/v1/stream/orders/open", { method: "PUT", headers }), open);
    expect((await local({ "cf-connecting-ip": "203.0.113.9" })).status).toBe(401);
    expect((await local({ origin: "https://evil.example" })).status).toBe(401);
    expect((await local({ origin: "null" })).status).toBe(401);
    expect((await local({ origin: "http://127.0.0.1:4173" })).status).toBe(201);
    expect((await local()).status).toBe(200);
    // A caller that sends a token is judged by that token. A web page in place of a token is refused at once.
    for (const authorization of [
      "Bearer <!doctype html>\t<html></html>",
      "Bearer one two",
      `Bearer ${"x".repeat(9000)}`,
    ])
      expect((await local({ authorization })).status, authorization).toBe(401);
    expect((await local({ authorization: "Basic eA==" })).status).toBe(200);
  });

  it("the present and the previous secret are taken, another is not", async () => {
    expect((await ask("PUT", "rotated", await tokenOf("write:**"))).status).toBe(201);
    expect((await ask("PUT", "rotated", await tokenOf("write:**", { secret: OLD }))).status).toBe(200);
    expect((await ask("PUT", "rotated", await tokenOf("write:**", { secret: "x".repeat(40) }))).status).toBe(401);
  });

  it.each<[string, TokenOptions]>([
    ["expired", { seconds: -60 }],
    ["without expiry", { seconds: null }],
    ["of another issuer", { issuer: "other" }],
    ["for another audience", { audience: "other" }],
    ["without a tenant", { tenant: null }],
  ])("a token %s is refused", async (_, options) => {
    expect((await ask("PUT", "refused", await tokenOf("write:** admin:**", options))).status).toBe(401);
  });

  it("the algorithm is the key's, never the token's choice", async () => {
    const encode = (value: object) => base64url.encode(JSON.stringify(value));
    const claims = {
      tenant: "acme",
      scope: "write:**",
      iss: "issuer",
      aud: "tidemark",
      exp: Math.floor(Date.now() / 1000) + 60,
    };
    expect((await ask("PUT", "none", `${encode({ alg: "none" })}.${encode(claims)}.`)).status).toBe(401);
    const { privateKey } = await generateKeyPair("ES256");
    const signed = await new SignJWT(claims).setProtectedHeader({ alg: "ES256" }).sign(privateKey);
    expect((await ask("PUT", "none", signed)).status).toBe(401);
  });

  it("in a URL it must be short-lived, and is taken for reads only", async () => {
    await ask("PUT", "live", await tokenOf("write:**"));
    const short = await tokenOf("read:** write:**");
    expect((await ask("GET", `live?offset=-1&token=${short}`)).status).toBe(200);
    expect((await ask("GET", `live?offset=-1&token=${await tokenOf("read:**", { seconds: 3600 })}`)).status).toBe(401);
    expect((await ask("POST", `live?token=${short}`, undefined, { body: "x" })).status).toBe(401);
    // A token issued next year would be valid until then, however short its own life is.
    const nextYear = Math.floor(Date.now() / 1000) + 365 * 86_400;
    const late = await new SignJWT({
      tenant: "acme",
      scope: "read:**",
      iss: "issuer",
      aud: "tidemark",
      iat: nextYear,
      exp: nextYear + 60,
    })
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(SECRET));
    expect((await ask("GET", `live?offset=-1&token=${late}`)).status).toBe(401);
  });
});

describe("scopes", () => {
  it("each action needs its own, for a pattern that matches the path", async () => {
    const [reads, writes, admin] = await Promise.all([
      tokenOf("read:orders/*"),
      tokenOf("write:orders/*"),
      tokenOf("admin:orders/*"),
    ]);
    expect((await ask("PUT", "orders/a", writes)).status).toBe(201);
    expect((await ask("PUT", "orders/a", reads)).status).toBe(403);
    expect((await ask("POST", "orders/a", writes, { body: "x" })).status).toBe(204);
    expect((await ask("POST", "orders/a/b", writes, { body: "x" })).status).toBe(403);
    expect((await ask("GET", "orders/a", writes)).status).toBe(403);
    const read = await ask("GET", "orders/a", reads);
    expect([read.status, await read.text(), read.headers.get("cache-control")?.startsWith("private")]).toEqual([
      200,
      "x",
      true,
    ]);
    expect((await ask("DELETE", "orders/a", writes)).status).toBe(403);
    expect((await ask("DELETE", "orders/a", admin)).status).toBe(204);
  });

  it("a fork needs to read its source, subscriptions an admin of everything", async () => {
    const writes = await tokenOf("write:** read:public/*");
    await ask("PUT", "private/a", writes);
    await ask("PUT", "public/a", writes);
    const fork = (from: string) =>
      ask("PUT", "public/fork", writes, { headers: { "stream-forked-from": `/v1/stream/${from}` } });
    expect((await fork("private/a")).status).toBe(403);
    expect((await fork("public/a")).status).toBe(201);
    const put = async (scope: string) =>
      (
        await ask("PUT", "__ds/subscriptions/s", await tokenOf(scope), {
          body: JSON.stringify({ type: "pull-wake", streams: ["a"], wake_stream: "w" }),
        })
      ).status;
    expect([await put("write:** read:**"), await put("admin:a"), await put("admin:**")]).toEqual([403, 403, 201]);
  });

  it("tenants do not see each other, whatever their paths are called", async () => {
    const acme = await tokenOf("read:** write:**");
    const other = await tokenOf("read:** write:**", { tenant: "acme/x" });
    await ask("PUT", "x/orders", acme, { body: "acme's" });
    expect((await ask("GET", "orders", other)).status).toBe(404);
    expect((await ask("GET", "x/orders", other)).status).toBe(404);
  });

  it("a client cannot send the headers by which the router speaks to objects", async () => {
    const token = await tokenOf("read:** write:**");
    await ask("PUT", "secret", token, { body: "mine" });
    const other = await tokenOf("read:**", { tenant: "other" });
    expect(
      (await ask("GET", "nothing", other, { headers: { "x-tidemark-tenant": "acme", "x-tidemark-path": "secret" } }))
        .status,
    ).toBe(404);
  });
});

describe("hostile requests", () => {
  it.each<[string, string, string, RequestInit, number]>([
    ["an offset that is none", "GET", "h?offset=12x", {}, 400],
    ["an offset that goes up the tree", "GET", "h?offset=../..", {}, 400],
    ["two offsets", "GET", "h?offset=-1&offset=-1", {}, 400],
    ["an offset beyond the end", "GET", "h?offset=9999999999999999_0000000000000000", {}, 400],
    ["a path too long", "GET", "p".repeat(2000), {}, 400],
    ["a control character in the path", "GET", "a%00b", {}, 400],
    ["a path that is not well encoded", "GET", "a%zz", {}, 400],
    ["a packed body", "POST", "h", { body: "x", headers: { "content-encoding": "gzip" } }, 415],
    ["a body too large", "POST", "h", { body: new Uint8Array(17 * 1024 * 1024) }, 413],
    ["a lifetime beyond all numbers", "PUT", "h2", { headers: { "stream-ttl": "9".repeat(30) } }, 400],
    ["half a producer", "POST", "h", { body: "x", headers: { "producer-id": "a" } }, 400],
    [
      "a producer's endless name",
      "POST",
      "h",
      { body: "x", headers: { "producer-id": "a".repeat(5000), "producer-epoch": "0", "producer-seq": "0" } },
      400,
    ],
  ])("%s is a 4xx with a code and changes nothing", async (_, method, path, init, status) => {
    const token = await tokenOf("read:** write:**");
    await ask("PUT", "h", token);
    const response = await ask(method, path, token, init);
    expect([response.status, typeof (await codeOf(response))]).toEqual([status, "string"]);
    expect(await (await ask("GET", "h", token)).text()).toBe("");
  });
});
