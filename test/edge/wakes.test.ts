/**
 * Who may call what on a subscription, inside workerd with open access off: made-up bearer tokens get nothing, and the
 * token of a wake allows that wake's calls only.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { subscriptionsOf } from "../../worker/rpc/subscription-peer.ts";
import {
  admin,
  ask,
  at,
  base64url,
  type Claim,
  claimed,
  codeOf,
  cursorOf,
  ORIGIN,
  prepare,
  ROOT,
  settings,
  subscribed,
} from "./subscription-access.ts";

beforeAll(prepare);

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
    // Nobody has got the lease.
    expect((await claimed(id)).generation).toBeGreaterThan(0);
  });

  it.each(["PUT", "GET", "DELETE"])("gets nothing with %s at a path that ends like a wake's call", async (method) => {
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

  it("is refused by the object itself, too", async () => {
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
    // The wake has ended, and its token is no longer valid.
    expect((await ack(mine.token, mine)).status).toBe(409);
  });

  it("of another tenant is refused", async () => {
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
