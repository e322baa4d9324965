/**
 * Tokens signed with keys of a JWKS, inside workerd: each algorithm, rotation, what a public key must not be used for,
 * and a provider that does not answer. The provider is a function behind `fetch`. The test sets the clock, because keys
 * are fetched again only after some time.
 */
import { env } from "cloudflare:test";
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Env } from "../../worker/env.ts";
import { handle } from "../../worker/front/router.ts";

let providers = 0;

class Provider {
  readonly url = `https://keys-${++providers}.example/jwks.json`;
  keys: JWK[] = [];
  asked = 0;
  isDown: "no" | "500" | "unreachable" = "no";
  readonly settings: Env = {
    ...env,
    TIDEMARK_OPEN_ACCESS: "",
    TIDEMARK_JWKS_URL: this.url,
    TIDEMARK_JWT_ISSUER: "issuer",
    TIDEMARK_JWT_AUDIENCE: "tidemark",
  };

  fetch = async (input: RequestInfo | URL): Promise<Response> => {
    expect(String(input)).toBe(this.url);
    this.asked++;
    if (this.isDown === "unreachable") throw new TypeError("fetch failed");
    if (this.isDown === "500") return new Response("no", { status: 500 });
    return Response.json({ keys: this.keys });
  };

  /** Makes a key pair and publishes its public half. Returns it with a function that signs tokens. */
  async key(
    alg: string,
    kid: string,
  ): Promise<{ readonly publicKey: CryptoKey; sign(claims?: object, header?: object): Promise<string> }> {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    this.keys.push({ ...(await exportJWK(publicKey)), kid, alg });
    return {
      publicKey,
      sign: (claims = {}, header = {}) =>
        new SignJWT({ scope: "write:** read:**", tenant: "keys", ...claims })
          .setProtectedHeader({ alg, kid, ...header })
          .setIssuer("issuer")
          .setAudience("tidemark")
          .setIssuedAt()
          .setExpirationTime("1m")
          .sign(privateKey),
    };
  }

  async put(path: string, token: string): Promise<Response> {
    return handle(
      new Request(`https://edge.example/v1/stream/${path}`, {
        method: "PUT",
        headers: { authorization: `Bearer ${token}` },
      }),
      this.settings,
    );
  }
}

let provider: Provider;
beforeEach(() => {
  provider = new Provider();
  vi.stubGlobal("fetch", provider.fetch);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const statusOf = async (answer: Promise<Response>): Promise<number> => (await answer).status;

describe("keys of a JWKS", () => {
  it.each(["RS256", "ES256", "EdDSA"])("%s is taken, from keys that were fetched once", async (alg) => {
    const key = await provider.key(alg, "a");
    expect(await statusOf(provider.put(`jwks/${alg}`, await key.sign()))).toBe(201);
    expect(await statusOf(provider.put(`jwks/${alg}`, await key.sign()))).toBe(200);
    expect(provider.asked).toBe(1);
  });

  it("other algorithms, other keys and wrong claims are not", async () => {
    const key = await provider.key("ES256", "a");
    const published = provider.keys;
    const stranger = await provider.key("ES256", "a");
    provider.keys = published.slice(0, 1);
    const pem = new TextEncoder().encode(await exportSPKI(key.publicKey));
    const forged = await new SignJWT({ scope: "write:**", tenant: "keys" })
      .setProtectedHeader({ alg: "HS256", kid: "a" })
      .setIssuer("issuer")
      .setAudience("tidemark")
      .setIssuedAt()
      .setExpirationTime("1m")
      .sign(pem);
    const strong = await provider.key("RS512", "b");
    for (const token of [
      await stranger.sign(),
      forged,
      await strong.sign(),
      await key.sign({ aud: "x" }, { kid: "c" }),
    ])
      expect(await statusOf(provider.put("jwks/no", token))).toBe(401);
    const header = btoa(JSON.stringify({ alg: "none", kid: "a" })).replaceAll("=", "");
    const none = `${header}.${(await key.sign()).split(".")[1]}.`;
    expect(await statusOf(provider.put("jwks/no", none))).toBe(401);
  });

  it("rotate: a new key is taken once it is published, an old one until it is gone and forgotten", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const old = await provider.key("ES256", "old");
    expect(await statusOf(provider.put("jwks/rotated", await old.sign()))).toBe(201);
    vi.setSystemTime(Date.now() + 60_000);
    const young = await provider.key("ES256", "new");
    expect(await statusOf(provider.put("jwks/rotated", await young.sign()))).toBe(200);
    expect(await statusOf(provider.put("jwks/rotated", await old.sign()))).toBe(200);
    provider.keys = provider.keys.slice(1);
    vi.setSystemTime(Date.now() + 11 * 60_000);
    expect(await statusOf(provider.put("jwks/rotated", await old.sign()))).toBe(401);
    expect(await statusOf(provider.put("jwks/rotated", await young.sign()))).toBe(200);
    // Tokens with unknown keys do not cause a request each time.
    const { asked } = provider;
    const stranger = await provider.key("ES256", "nobody's");
    provider.keys.pop();
    for (let i = 0; i < 20; i++) expect(await statusOf(provider.put("jwks/rotated", await stranger.sign()))).toBe(401);
    expect(provider.asked - asked).toBeLessThanOrEqual(1);
  });

  it.each(["500", "unreachable"] as const)(
    "a provider that is away (%s) says nothing about the token: 503, ask again",
    async (how) => {
      const key = await provider.key("ES256", "a");
      provider.isDown = how;
      const away = await provider.put(`jwks/away-${how}`, await key.sign());
      expect([away.status, away.headers.get("retry-after"), away.headers.get("tidemark-error")]).toEqual([
        503,
        "5",
        "CLOSED",
      ]);
      provider.isDown = "no";
      expect(await statusOf(provider.put(`jwks/away-${how}`, await key.sign()))).toBe(201);
    },
  );
});
