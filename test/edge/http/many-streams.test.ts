/**
 * More streams in use than a local workerd has open files for: what is refused says which limit it is, what stands goes
 * on, and there is room again once streams have slept.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RawWorkerd } from "../raw-workerd.ts";

const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-files-"));
let worker: RawWorkerd;
beforeAll(async () => {
  worker = await RawWorkerd.create({ directory, filesMax: 201 });
  await worker.start();
});
afterAll(async () => {
  await worker.kill();
  rmSync(directory, { recursive: true, force: true });
});

const TEXT = { "content-type": "text/plain" };
const ask = (n: number, method: string, body?: string): Promise<Response> =>
  fetch(`${worker.url}/v1/stream/s/${n}`, { method, headers: TEXT, ...(body !== undefined && { body }) });

it("a stream too many is refused by the limit's name, the others go on, and later there is room again", async () => {
  let made = 0;
  let refused: Response;
  for (; (refused = await ask(made, "PUT", "one")).status === 201; made++) await refused.arrayBuffer();
  expect(made).toBeGreaterThan(30);
  const told = async (response: Response): Promise<unknown[]> => {
    const { error } = (await response.json()) as { error: { code: string; message: string; details: object } };
    return [response.status, error.code, error.details, error.message.includes("ulimit -n")];
  };
  const reason = { reason: "unopened" };
  expect(await told(refused)).toEqual([503, "OUTCOME_UNKNOWN", reason, true]);
  expect(await told(await ask(made, "POST", "two"))).toEqual([503, "OUTCOME_UNKNOWN", reason, true]);
  expect(await told(await ask(made, "GET"))).toEqual([503, "CLOSED", reason, true]);
  // Streams in use are not harmed.
  expect((await ask(0, "POST", "two")).status).toBe(204);
  expect(await (await ask(0, "GET")).text()).toBe("onetwo");
  // The refused one was not half made: once others sleep, it is new.
  for (let status = 0; status !== 201;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const response = await ask(made, "PUT", "one");
    await response.arrayBuffer();
    ({ status } = response);
    expect([201, 503]).toContain(status);
  }
  for (let n = 0; n < made; n += 7) expect(await (await ask(n, "GET")).text()).toBe(n === 0 ? "onetwo" : "one");
});
