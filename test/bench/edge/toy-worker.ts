/**
 * What an append over HTTP costs in workerd whoever writes it: a Worker that does the same work and nothing else. It
 * reads the body and hands it to an object by one call. The object inserts what has come as one row, at most every 4 ms
 * behind a row of several bodies. There is no log: no offsets, checksums, limits or tokens. contenders.ts runs it in
 * the place of worker/index.ts.
 */
import { DurableObject } from "cloudflare:workers";

const GROUP_MS = 4;

interface Call {
  append(body: Uint8Array): Promise<number>;
}
interface ToyEnv {
  readonly LOGS: { idFromName(name: string): unknown; get(id: unknown): Call };
}

export class LogObject extends DurableObject {
  #queue: { readonly body: Uint8Array; readonly done: (end: number) => void }[] = [];
  #end = 0;
  #isBusy = false;

  constructor(...args: ConstructorParameters<typeof DurableObject>) {
    super(...args);
    this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS rows (at INTEGER PRIMARY KEY, bytes BLOB)");
  }

  append(body: Uint8Array): Promise<number> {
    const done = new Promise<number>((resolve) => this.#queue.push({ body, done: resolve }));
    if (!this.#isBusy) void this.#write();
    return done;
  }

  async #write(): Promise<void> {
    this.#isBusy = true;
    while (this.#queue.length > 0) {
      const group = this.#queue;
      this.#queue = [];
      const bytes = new Uint8Array(group.reduce((sum, { body }) => sum + body.length, 0));
      let at = 0;
      for (const { body } of group) {
        bytes.set(body, at);
        at += body.length;
      }
      this.ctx.storage.sql.exec("INSERT INTO rows VALUES (?, ?)", this.#end, bytes);
      for (const { done } of group) done(++this.#end);
      await new Promise((resolve) => setTimeout(resolve, group.length === 1 ? 0 : GROUP_MS));
    }
    this.#isBusy = false;
  }
}

/** The configuration names it. */
export class SubscriptionObject extends DurableObject {}

export default {
  async fetch(request: Request, { LOGS }: ToyEnv): Promise<Response> {
    if (request.method === "PUT") return new Response(null, { status: 201 });
    if (request.method !== "POST") return new Response(null, { status: 404 });
    const body = new Uint8Array(await request.arrayBuffer());
    const end = await LOGS.get(LOGS.idFromName(new URL(request.url).pathname)).append(body);
    return new Response(null, { status: 204, headers: { "stream-next-offset": String(end) } });
  },
};
