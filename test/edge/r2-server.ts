/**
 * Object storage for workerd in tests: the server that the R2 binding of plain workerd talks to, in the runner's own
 * process. So it is not killed with workerd, as R2 would not be, and it knows at which step of a put a kill came.
 *
 *   put     arrived ── checked, stored ── answered          if the sender dies before it is stored,
 *                                                           it may be stored or not
 *   get     a whole object or a range
 *   head    what is known of an object
 *   delete  keys
 *
 * The protocol: a request is JSON, either in a header or in the first bytes of the body; in that case a header gives
 * the number of these bytes. Answers have the same form.
 */
import { createHash } from "node:crypto";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Random } from "../simulation/prng.ts";

export type PutStep = "put arrived" | "put stored" | "put answered";

interface Asked {
  readonly method: string;
  readonly object?: string;
  readonly objects?: readonly string[];
  readonly range?: { readonly offset?: string | number; readonly length?: string | number };
  readonly onlyIf?: { readonly etagDoesNotMatch?: readonly unknown[] };
  readonly sha256?: string;
}

const SIZE = "cf-r2-metadata-size";

export class R2Server {
  readonly objects = new Map<string, Buffer>();
  readonly counts: Record<string, number> = {};
  readonly #random: Random;
  readonly #server = http.createServer(
    (request, response) => void this.#take(request, response).catch(() => response.destroy()),
  );
  readonly #waiting: { readonly step: PutStep; go(): void }[] = [];
  /** The puts without an answer, by key, and how far each has come. */
  readonly underWay = new Map<string, PutStep>();
  /** Set while a kill waits for a step: a put that comes to the step waits for this promise. */
  #standing: Promise<void> | undefined;
  answeredAt = -Infinity;

  private constructor(random: Random) {
    this.#random = random;
  }

  static async start(random: Random): Promise<R2Server> {
    const server = new R2Server(random);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Resolves when a put comes to `step`. The put then waits until `release` resolves. */
  next(step: PutStep, release: Promise<void>): Promise<void> {
    this.#standing = release;
    return new Promise((go) => this.#waiting.push({ step, go }));
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  async #comesTo(step: PutStep, key: string): Promise<void> {
    this.underWay.set(key, step);
    const index = this.#waiting.findIndex((waiting) => waiting.step === step);
    if (index < 0) return;
    this.#waiting.splice(index)[0]!.go();
    await this.#standing;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let isGone = false;
    response.on("close", () => (isGone = !response.writableFinished));
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const size = Number(request.headers[SIZE] ?? 0);
    // Node reads headers as Latin-1, but names are UTF-8.
    const inHeader = Buffer.from(String(request.headers["cf-r2-request"]), "latin1");
    const asked = JSON.parse((size > 0 ? body.subarray(0, size) : inHeader).toString()) as Asked;
    if (asked.method === "put") return this.#put(asked, body.subarray(size), response, () => isGone);
    if (asked.method === "get" || asked.method === "head") return this.#get(asked, response);
    if (asked.method !== "delete") return refuse(response, 400, 10_001, `no ${asked.method} here`);
    for (const key of asked.objects ?? [asked.object!]) this.objects.delete(key);
    this.count("delete");
    response.writeHead(200, { [SIZE]: "2", "content-type": "application/json" }).end("{}");
  }

  async #put(
    { object: key, onlyIf, sha256 }: Asked,
    value: Buffer,
    response: ServerResponse,
    isGone: () => boolean,
  ): Promise<void> {
    await this.#comesTo("put arrived", key!);
    if (isGone()) {
      const isStored = this.#random.chance(0.5);
      this.count(isStored ? "puts stored after their sender's death" : "puts lost with their sender");
      this.underWay.delete(key!);
      if (!isStored) return;
    }
    if (onlyIf?.etagDoesNotMatch && this.objects.has(key!)) return refuse(response, 412, 10_031, "precondition failed");
    if (sha256 !== undefined && createHash("sha256").update(value).digest("hex") !== sha256)
      return refuse(response, 400, 10_037, "bad digest");
    this.objects.set(key!, value);
    this.count("put");
    if (isGone()) return;
    await this.#comesTo("put stored", key!);
    const text = JSON.stringify(described(key!, value));
    response.writeHead(200, { [SIZE]: String(Buffer.byteLength(text)), "content-type": "application/json" }).end(text);
    this.underWay.delete(key!);
    this.answeredAt = performance.now();
    await this.#comesTo("put answered", key!);
    this.underWay.delete(key!);
  }

  #get({ method, object: key, range }: Asked, response: ServerResponse): void {
    const found = this.objects.get(key!);
    if (!found) return refuse(response, 404, 10_007, "no such key");
    const offset = Number(range?.offset ?? 0);
    const length = Math.min(Number(range?.length ?? found.length), found.length - offset);
    const text = JSON.stringify({ ...described(key!, found), ...(range && { range: { offset, length } }) });
    response.writeHead(200, { [SIZE]: String(Buffer.byteLength(text)) });
    const value = found.subarray(offset, method === "head" ? offset : offset + length);
    response.end(Buffer.concat([Buffer.from(text), value]));
    this.count(method);
  }
}

const described = (name: string, value: Buffer) => ({
  name,
  version: "1",
  size: value.length,
  etag: createHash("md5").update(value).digest("hex"),
  uploaded: 0,
  httpFields: {},
  customFields: [],
  checksums: {},
});

function refuse(response: ServerResponse, status: number, v4code: number, message: string): void {
  response.writeHead(status, { "cf-r2-error": JSON.stringify({ version: 1, v4code, message }) }).end();
}
