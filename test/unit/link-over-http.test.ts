/** When a link goes over HTTP: where requests get through and WebSockets don't, and not for longer than that. */
import { describe, expect, it } from "vitest";
import type { Wire } from "../../src/sync/edge-socket.ts";
import { HTTP_WIRE_MS } from "../../src/sync/http-words.ts";
import { SyncLink } from "../../src/sync/link.ts";

type Close = (event: { code: number; reason: string }) => void;
type Message = (event: { data: unknown }) => void;

class FakeWire {
  readonly closes: Close[] = [];
  readonly messages: Message[] = [];
  send(): void {}
  close(): void {}
  addEventListener(type: string, listener: never): void {
    (type === "close" ? this.closes : this.messages).push(listener);
  }
  end(code: number): void {
    for (const close of this.closes) close({ code, reason: "" });
  }
  say(): void {
    for (const message of this.messages) message({ data: "pong" });
  }
}

/** A link whose timers fire at once when `later` is called. */
class Stage {
  readonly tried: string[] = [];
  readonly wires: FakeWire[] = [];
  /** Of the request that follows a WebSocket that did not open. */
  status = 404;
  opens: "refused" | "open" = "refused";
  time = 0;
  readonly #timers = new Map<() => void, number>();
  readonly link: SyncLink;

  constructor(hasHttp = true) {
    const made = (): Promise<Wire> => {
      const wire = new FakeWire();
      this.wires.push(wire);
      return Promise.resolve(wire as Wire);
    };
    this.link = new SyncLink({
      host: {
        now: () => 0,
        monotonic: () => this.time,
        random: () => 0.5,
        after: (ms, work) => {
          this.#timers.set(work, ms);
          return () => void this.#timers.delete(work);
        },
        connect: () => {
          this.tried.push("socket");
          return this.opens === "open" ? made() : Promise.reject(new Error("refused"));
        },
        ...(hasHttp && {
          overHttp: () => {
            this.tried.push("http");
            return made();
          },
        }),
        http: () => Promise.resolve({ status: this.status }),
        token: () => Promise.resolve(undefined),
        proveTerm: () => Promise.resolve(),
      },
      url: "https://edge.example",
      sessions: new Set(),
      changed: () => undefined,
      token: () => undefined,
    });
  }

  /** Lets promises settle, then the wait before the next try end. */
  async next(): Promise<string[]> {
    await settled();
    if (this.link.state.at === "backoff") this.link.step({ on: "timer" });
    await settled();
    return this.tried.splice(0);
  }
}
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe("a link without WebSockets", () => {
  it("goes over HTTP after two that did not open, and tries one again when the wire has had its time", async () => {
    const stage = new Stage();
    stage.link.step({ on: "wanted" });
    expect(await stage.next()).toEqual(["socket", "socket"]);
    expect(await stage.next()).toEqual(["http"]);
    expect(stage.link.state.at).toBe("live");
    stage.wires[0]!.say();
    stage.wires[0]!.end(1006);
    expect(await stage.next()).toEqual(["http"]);
    stage.wires[1]!.say();
    stage.time += HTTP_WIRE_MS;
    stage.wires[1]!.end(1012);
    expect(await stage.next()).toEqual(["socket"]);
    expect(await stage.next()).toEqual(["http"]);
    stage.opens = "open";
    stage.wires[2]!.say();
    stage.time += HTTP_WIRE_MS;
    stage.wires[2]!.end(1012);
    expect(await stage.next()).toEqual(["socket"]);
    stage.wires[3]!.say();
    // The network has WebSockets again: two must fail before HTTP is used.
    stage.opens = "refused";
    stage.wires[3]!.end(1006);
    expect(await stage.next()).toEqual(["socket"]);
    expect(await stage.next()).toEqual(["socket"]);
    expect(await stage.next()).toEqual(["http"]);
  });

  it("goes over HTTP also where the token may not read the log that the request was for", async () => {
    const stage = new Stage();
    stage.status = 403;
    stage.link.step({ on: "wanted" });
    expect(await stage.next()).toEqual(["socket", "socket"]);
    expect(await stage.next()).toEqual(["http"]);
    expect(stage.link.state.at).toBe("live");
  });

  it("sockets that open and bring nothing are no way, either", async () => {
    const stage = new Stage();
    stage.opens = "open";
    stage.link.step({ on: "wanted" });
    await stage.next();
    stage.wires[0]!.end(1006);
    await stage.next();
    stage.wires[1]!.end(1006);
    expect(await stage.next()).toEqual(["http"]);
  });

  it("an edge that can't be reached at all, that restarts or wants another token, is no reason", async () => {
    for (const status of [0, 500, 503]) {
      const stage = new Stage();
      stage.status = status;
      stage.link.step({ on: "wanted" });
      for (let tries = 0; tries < 5; tries++) await stage.next();
      expect(stage.tried).toEqual([]);
      stage.link.step({ on: "timer" });
      await settled();
      expect(stage.tried).toEqual(["socket"]);
    }
  });

  it("a wire over HTTP that brings nothing gives way to sockets", async () => {
    const stage = new Stage();
    stage.link.step({ on: "wanted" });
    await stage.next();
    expect(await stage.next()).toEqual(["http"]);
    stage.wires[0]!.end(1006);
    expect(await stage.next()).toEqual(["socket"]);
    expect(await stage.next()).toEqual(["socket"]);
  });

  it("a host without HTTP goes on with sockets", async () => {
    const stage = new Stage(false);
    stage.link.step({ on: "wanted" });
    for (let tries = 0; tries < 5; tries++) for (const way of await stage.next()) expect(way).toBe("socket");
  });
});
