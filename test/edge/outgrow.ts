/**
 * A log that outgrows its object: appends many bytes to one stream in local workerd, measures the object's database all
 * the time, reads everything back and compares checksums. After a restart on the same state, when every index has to be
 * loaded again, it reads once more.
 *
 *     node tools/run/run-ts.mjs test/edge/outgrow.ts --megabytes 256 --json FILE
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { Random } from "../simulation/prng.ts";
import { commandLine, integer, jsonFile, seedNumber } from "../../tools/run/command-line.mjs";
import { startWorker } from "./local-worker.ts";

const BODY_BYTES = 1_000_000;

export interface OutgrowFigures {
  readonly seed: number;
  readonly bytes: number;
  readonly writeMiBs: number;
  readonly readMiBs: number;
  readonly readAgainMiBs: number;
  readonly databaseBytesMax: number;
  readonly objects: number;
  readonly looks: number;
  readonly equal: boolean;
}

export interface OutgrowOptions {
  readonly megabytes: number;
  readonly seed: number;
  readonly log?: (line: string) => void;
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(url.replace("/v1/stream/", "/v1/metrics/"))).text();
  return Number(new RegExp(`^tidemark_${name}\\{.*\\} (\\S+)$`, "m").exec(text)?.[1]);
}

async function digestOf(url: string): Promise<{ digest: string; bytes: number; seconds: number }> {
  const hash = createHash("sha256");
  const started = performance.now();
  let bytes = 0;
  for (let offset = "-1"; ;) {
    const response = await fetch(`${url}?offset=${offset}`);
    if (response.status !== 200) throw new Error(`read: ${response.status} ${await response.text()}`);
    const part = new Uint8Array(await response.arrayBuffer());
    hash.update(part);
    bytes += part.length;
    offset = response.headers.get("stream-next-offset")!;
    if (response.headers.get("stream-up-to-date") === "true")
      return { digest: hash.digest("hex"), bytes, seconds: (performance.now() - started) / 1000 };
  }
}

export async function outgrow({ megabytes, seed, log = () => {} }: OutgrowOptions): Promise<OutgrowFigures> {
  const worker = await startWorker();
  const url = `${worker.url}/v1/stream/outgrow/${seed}`;
  try {
    await fetch(url, { method: "PUT", headers: { "content-type": "application/octet-stream" } });
    const random = new Random(seed);
    const hash = createHash("sha256");
    let databaseBytesMax = 0;
    let looks = 0;
    const started = performance.now();
    for (let i = 0; i < megabytes; i++) {
      const body = new Uint8Array(BODY_BYTES);
      random.fill(body);
      hash.update(body);
      const { status } = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: body as BodyInit,
      });
      if (status !== 204) throw new Error(`append: ${status}`);
      if (i % 4 === 3) {
        databaseBytesMax = Math.max(databaseBytesMax, await metric(url, "database_bytes"));
        looks++;
      }
      if (i % 32 === 31) log(`${i + 1} MB, database at most ${(databaseBytesMax / 1e6).toFixed(1)} MB`);
    }
    const writeSeconds = (performance.now() - started) / 1000;
    const expected = hash.digest("hex");
    const first = await digestOf(url);
    const objects = await metric(url, "objects");
    await worker.restart();
    const second = await digestOf(url);
    const mib = (seconds: number): number => Math.round((megabytes * BODY_BYTES) / 1024 / 1024 / seconds);
    return {
      seed,
      bytes: first.bytes,
      writeMiBs: mib(writeSeconds),
      readMiBs: mib(first.seconds),
      readAgainMiBs: mib(second.seconds),
      databaseBytesMax,
      objects,
      looks,
      equal: first.digest === expected && second.digest === expected,
    };
  } finally {
    await worker.stop();
  }
}

if (process.argv[1]?.endsWith("outgrow.ts")) {
  const { json, ...size } = commandLine({
    script: "outgrow",
    command: "node tools/run/run-ts.mjs test/edge/outgrow.ts",
    about: "More through one log than its object's database holds.",
    options: {
      megabytes: integer({ default: 256, help: "bytes to write, in MB" }),
      seed: seedNumber(),
      json: jsonFile(),
    },
  });
  const figures = await outgrow({ ...size, log: console.log });
  console.log(JSON.stringify(figures));
  if (json !== undefined) writeFileSync(json, JSON.stringify({ figures }));
  process.exit(figures.equal && figures.databaseBytesMax < 64e6 ? 0 : 1);
}
