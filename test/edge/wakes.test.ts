/**
 * Who may call what on a subscription, and what becomes of fields of a wrong kind; inside workerd, with open access
 * off.
 */
import { env } from "cloudflare:test";
import { SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import type { Env } from "../../worker/env.ts";
import { handle } from "../../worker/front/router.ts";
import { subscriptionsOf } from "../../worker/rpc/subscription-peer.ts";
import { checkWebhook } from "../../worker/subscriptions/webhook-address.ts";

const SECRET = "a secret of at least thirty-two characters";
const settings: Env = { ...(env as unknown as Env), TIDEMARK_OPEN_ACCESS: "", TIDEMARK_JWT_SECRETS: SECRET };
const ORIGIN = "https://edge.example";
const ROOT = "/v1/stream/__ds/subscriptions";

const tokenOf = (scope: string, tenant = "acme"): Promise<string> =>
  new SignJWT({ scope, tenant })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1m")
    .sign(new TextEncoder().encode(SECRET));

async function ask(method: string, path: string, token?: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {
    "content-type": "application/json",
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };
  const text = typeof body === "string" || body === undefined ? body : JSON.stringify(body);
  return handle(new Request(ORIGIN + path, { method, headers, ...(text !== undefined && { body: text }) }), settings);
}
const codeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { code: string } }).error.code;
const messageOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { message: string } }).error.message;

interface Claim {
  readonly wake_id: string;
  readonly generation: number;
  readonly token: string;
}

let admin: string;
let count = 0;
beforeAll(async () => {
  admin = await tokenOf("read:** write:** admin:**");
  await ask("PUT", "/v1/stream/wakes", admin);
});

/** A subscription of its own for each test, with one message to do. */
async function subscribed(): Promise<string> {
  const id = `s${++count}`;
  expect((await ask("PUT", `/v1/stream/in-${id}`, admin, "[1]")).status).toBe(201);
  const config = { type: "pull-wake", streams: [`in-${id}`], wake_stream: "wakes", lease_ttl_ms: 60_000 };
  expect((await ask("PUT", `${ROOT}/${id}`, admin, config)).status).toBe(201);
  expect((await ask("POST", `/v1/stream/in-${id}`, admin, "[2]")).status).toBe(204);
  return id;
}
const claimed = async (id: string): Promise<Claim> =>
  (await ask("POST", `${ROOT}/${id}/claim`, admin, { worker: "w" })).json() as Promise<Claim>;
const cursorOf = async (id: string): Promise<string> =>
  ((await (await ask("GET", `${ROOT}/${id}`, admin)).json()) as { streams: { acked_offset: string }[] }).streams[0]!
    .acked_offset;
const at = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
const base64url = (text: string): string => btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

describe("a made-up bearer", () => {
  const MADE_UP = [
    `${base64url("acme")}.x`,
    `${base64url("acme")}.${"A".repeat(86)}.${"A".repeat(32)}`,
    "x",
    "..",
    `${base64url("acme")}..`,
  ];
  const PATHS = [
    "claim",
    "claim/ack",
    "claim/callback",
    "claim/release",
    "streams/ack",
    "streams/x/callback",
    "streams",
    "ack/",
    "ack/ack",
    "",
    "x/ack",
    "claim%2Fack",
    "%61ck",
    "ack",
    "callback",
    "release",
  ];

  it.each(PATHS)("gets nothing of a subscription: POST …/s/%s", async (path) => {
    const id = await subscribed();
    const before = await (await ask("GET", `${ROOT}/${id}`, admin)).text();
    for (const token of MADE_UP) {
      const response = await ask("POST", `${ROOT}/${id}${path === "" ? "" : `/${path}`}`, token, {
        worker: "thief",
        streams: ["stolen"],
        wake_id: "w",
        generation: 1,
      });
      expect([token, response.status]).toEqual([token, expect.toBeOneOf([401, 404, 405])]);
    }
    expect(await (await ask("GET", `${ROOT}/${id}`, admin)).text()).toBe(before);
    // The lease is still free.
    expect((await claimed(id)).generation).toBeGreaterThan(0);
  });

  it.each(["PUT", "GET", "DELETE"])("nor with %s under a path that ends like a wake's", async (method) => {
    const id = await subscribed();
    for (const path of [`${id}/ack`, `${id}/streams/ack`, `${id}%2Fack`]) {
      const response = await ask(
        method,
        `${ROOT}/${path}`,
        MADE_UP[0],
        method === "PUT" ? { type: "pull-wake" } : undefined,
      );
      expect([path, response.status]).toEqual([path, expect.toBeOneOf([401, 404, 405])]);
    }
    expect((await ask("GET", `${ROOT}/${id}`, admin)).status).toBe(200);
  });

  it("makes no tables for a tenant that is not there, and does not tell which are", async () => {
    await subscribed();
    for (const tenant of ["nobody", "acme"]) {
      const response = await ask("POST", `${ROOT}/s1/ack`, `${base64url(tenant)}.guess`, {});
      expect([response.status, await codeOf(response)]).toEqual([401, "UNAUTHORIZED"]);
    }
  });

  it("is refused by the object, too, whoever passes it on", async () => {
    const id = await subscribed();
    for (const [method, path] of [
      ["POST", "claim"],
      ["POST", "streams"],
      ["GET", ""],
      ["PUT", ""],
      ["DELETE", "streams/x"],
    ] as const) {
      const url = `${ORIGIN}${ROOT}/${id}${path === "" ? "" : `/${path}`}`;
      const init = {
        method,
        headers: { authorization: `Bearer ${MADE_UP[0]}` },
        ...(method === "GET" ? {} : { body: "{}" }),
      };
      expect([path, (await subscriptionsOf(settings, "acme").fetch(new Request(url, init))).status]).toEqual([
        path,
        401,
      ]);
    }
  });
});

describe("a wake's token", () => {
  it("acks and ends its own wake, and only that", async () => {
    const id = await subscribed();
    const other = await subscribed();
    const [mine, others] = [await claimed(id), await claimed(other)];
    const acks = [{ stream: `in-${id}`, offset: at(2) }];
    const ack = (token: string, wake: Claim) =>
      ask("POST", `${ROOT}/${id}/ack`, token, { wake_id: wake.wake_id, generation: wake.generation, acks, done: true });
    expect((await ack(others.token, mine)).status).toBe(401);
    expect((await ack(`${mine.token.slice(0, -1)}${mine.token.endsWith("A") ? "B" : "A"}`, mine)).status).toBe(401);
    expect((await ack(admin, mine)).status).toBe(401);
    expect(await cursorOf(id)).toBe(at(1));
    expect((await ack(mine.token, mine)).status).toBe(200);
    expect(await cursorOf(id)).toBe(at(2));
    // The wake is over, and its token with it.
    expect((await ack(mine.token, mine)).status).toBe(409);
  });

  it("of another tenant is none here", async () => {
    const id = await subscribed();
    const wake = await claimed(id);
    const [, seal, secret] = wake.token.split(".");
    const body = { wake_id: wake.wake_id, generation: wake.generation };
    expect((await ask("POST", `${ROOT}/${id}/release`, `${base64url("rival")}.${seal}.${secret}`, body)).status).toBe(
      401,
    );
    expect((await ask("POST", `${ROOT}/${id}/release`, wake.token, body)).status).toBe(204);
  });
});

describe("fields of a wrong kind", () => {
  const WRONG: readonly unknown[] = [
    null,
    0,
    -1,
    1.5,
    true,
    "",
    "x".repeat(2_000),
    "\ud800",
    [],
    [null],
    {},
    { toString: 1 },
    "__proto__",
  ];
  type Case = readonly [
    call: string,
    field: string,
    body: (value: unknown, wake: Claim, id: string) => unknown,
    fine: readonly unknown[],
  ];
  const CASES: readonly Case[] = [
    ["claim", "worker", (worker) => ({ worker }), ["__proto__"]],
    ["ack", "wake_id", (wake_id, { generation }) => ({ wake_id, generation }), ["__proto__"]],
    ["ack", "generation", (generation, { wake_id }) => ({ wake_id, generation }), [0]],
    ["ack", "done", (done, { wake_id, generation }) => ({ wake_id, generation, done }), [null, true]],
    ["ack", "acks", (acks, { wake_id, generation }) => ({ wake_id, generation, acks }), [null, []]],
    ["ack", "acks[0]", (ack, { wake_id, generation }) => ({ wake_id, generation, acks: [ack] }), []],
    [
      "ack",
      "acks[0].stream",
      (stream, { wake_id, generation }) => ({ wake_id, generation, acks: [{ stream, offset: at(1) }] }),
      [],
    ],
    [
      "ack",
      "acks[0].offset",
      (offset, { wake_id, generation }, id) => ({ wake_id, generation, acks: [{ stream: `in-${id}`, offset }] }),
      [],
    ],
    ["streams", "streams", (streams) => ({ streams }), [null, [], "__proto__"]],
    ["streams", "streams[0]", (path) => ({ streams: [path] }), ["__proto__"]],
  ];

  it.each(CASES)("POST …/%s: %s is refused by name, and changes nothing", async (call, field, bodyWith, fine) => {
    const id = await subscribed();
    const wake = await claimed(id);
    for (const value of WRONG) {
      if (fine.some((each) => JSON.stringify(each) === JSON.stringify(value))) continue;
      const token = call === "ack" ? wake.token : admin;
      const response = await ask("POST", `${ROOT}/${id}/${call}`, token, bodyWith(value, wake, id));
      expect([field, value, response.status]).toEqual([field, value, 400]);
      expect(await messageOf(response)).toContain(field);
    }
    expect(await cursorOf(id)).toBe(at(1));
  });

  const PULL = { type: "pull-wake", wake_stream: "w", streams: ["a"] };
  it.each([
    ["type", { ...PULL, type: "constructor" }],
    ["pattern", { ...PULL, pattern: 5 }],
    ["streams", { ...PULL, streams: { length: 1 } }],
    ["streams[1]", { ...PULL, streams: ["a", 7] }],
    ["streams[0]", { ...PULL, streams: ["a\u0000b"] }],
    ["wake_stream", { ...PULL, wake_stream: ["w"] }],
    ["wake_stream", { ...PULL, wake_stream: null }],
    ["lease_ttl_ms", { ...PULL, lease_ttl_ms: "5000" }],
    ["lease_ttl_ms", { ...PULL, lease_ttl_ms: 1e9 }],
    ["lease_ttl_ms", { ...PULL, lease_ttl_ms: 1000.5 }],
    ["description", { ...PULL, description: {} }],
    ["webhook", { type: "webhook", streams: ["a"], webhook: null }],
    ["webhook", { type: "webhook", streams: ["a"], webhook: "https://example.com" }],
    ["webhook.url", { type: "webhook", streams: ["a"], webhook: { url: 5 } }],
    ["pattern and streams", { ...PULL, streams: [] }],
    ["the body", []],
    ["the body", "nonsense"],
    ["the body", "null"],
  ])("PUT: %s is refused by name", async (field, body) => {
    const response = await ask("PUT", `${ROOT}/wrong`, admin, body);
    expect(response.status).toBe(400);
    expect(await messageOf(response)).toContain(field);
    expect((await ask("GET", `${ROOT}/wrong`, admin)).status).toBe(404);
  });

  it("a body that is too large is 413 before it is parsed", async () => {
    const response = await ask("PUT", `${ROOT}/large`, admin, `{"streams":[${"{},".repeat(1_000_000)}{}]}`);
    expect([response.status, await codeOf(response)]).toEqual([413, "TOO_LARGE"]);
  });
});

describe("addresses of webhooks", () => {
  // Asked inside workerd, whose URL parser decides. The objects of this suite have open access on.
  const codeFor = (url: string, allowsLocalhost = false): string => {
    try {
      checkWebhook(url, allowsLocalhost);
      return "taken";
    } catch (thrown) {
      return (thrown as { code: string }).code;
    }
  };

  it.each([
    "https://localhost./hook",
    "https://LocalHost/hook",
    "https://localhost../h",
    "https://a.localhost/",
    "https://a.localhost./",
    "https://127.0.0.1./",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0x7f.1/",
    "https://１２７.0.0.1/",
    "https://%6c%6fcalhost/",
    "https://ⓛocalhost/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[fe80::1]/",
    "https://[fd00:ec2::254]/",
    "https://[64:ff9b::7f00:1]/",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.1/",
    "https://metadata.google.internal/",
    "https://metadata.google.internal./",
    "https://metadata/",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    "https://10.0.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://0.0.0.0/",
    "https://255.255.255.255/",
    "https://224.0.0.1/",
    "https://198.18.0.1/",
    "https://localtest.me/",
    "https://x.LVH.me/",
    "https://127.0.0.1.nip.io/",
    "https://printer.local/",
    "https://router.lan./",
    "https://x.home.arpa/",
    "https://a.corp/",
    "https://user@example.com/",
    "https://user:pw@example.com/",
    "https://:pw@example.com/",
    "http://example.com/",
    "ftp://example.com/",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "https://example.com:22/",
    "https://example.com:80/",
    "https://",
    "https://example.com:99999/",
    "data:text/plain,x",
  ])("%s is refused", (url) => {
    expect(codeFor(url)).toBe("WEBHOOK_URL_REJECTED");
  });

  it.each([
    "https://example.com/hook",
    "https://EXAMPLE.com./hook?x=1",
    "https://hooks.example.co.uk:8443/",
    "https://8.8.8.8/",
    "https://bücher.example/",
    "https://example.com:443/",
  ])("%s is taken", (url) => {
    expect(codeFor(url)).toBe("taken");
  });

  it("with open access this machine is taken, and nothing else that is private", () => {
    for (const url of [
      "http://localhost:9/h",
      "http://localhost.:9/h",
      "http://127.0.0.1:9/",
      "https://[::1]:9/",
      "http://127.9.9.9/",
    ])
      expect([url, codeFor(url, true)]).toEqual([url, "taken"]);
    for (const url of ["http://user@localhost/", "http://192.168.0.1/", "ftp://localhost/", "http://example.com/"])
      expect([url, codeFor(url, true)]).toEqual([url, "WEBHOOK_URL_REJECTED"]);
  });
});
