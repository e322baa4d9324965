/** A BroadcastChannel used as a port, and the listeners of a tide: calls that must not throw do not. */
import { releaseProxy, wrap } from "comlink";
import { afterEach, describe, expect, it, vi } from "vitest";
import { channelPort } from "../../src/browser/port/channel.ts";
import { Listeners } from "../../src/browser/page/listeners.ts";

let names = 0;
const fresh = (): string => `channel-${names++}`;

describe("a channel in place of a port", () => {
  it("carries messages both ways", async () => {
    const name = fresh();
    const [here, there] = [channelPort(name), channelPort(name)];
    const heard = new Promise((resolve) => (there.onmessage = ({ data }) => resolve(data)));
    here.postMessage({ id: 1 });
    expect(await heard).toEqual({ id: 1 });
    here.close();
    there.close();
  });

  it("takes no message once it is closed, where a plain channel throws", () => {
    const name = fresh();
    const plain = new BroadcastChannel(name);
    plain.close();
    expect(() => plain.postMessage(1)).toThrow(/closed/i);
    const port = channelPort(name);
    port.close();
    expect(() => port.postMessage(1)).not.toThrow();
  });

  it("lets Comlink say farewell over it when it is closed", async () => {
    const rejected = vi.fn();
    process.on("unhandledRejection", rejected);
    const port = channelPort(fresh());
    const remote = wrap<Record<string, unknown>>(port);
    port.close();
    remote[releaseProxy]();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", rejected);
    expect(rejected).not.toHaveBeenCalled();
  });
});

describe("listeners", () => {
  const closed = { type: "closed", reason: "x" } as const;
  afterEach(() => vi.unstubAllGlobals());

  it("a listener that throws is reported, and the others are still called", () => {
    const report = vi.fn();
    vi.stubGlobal("reportError", report);
    const listeners = new Listeners();
    const heard: string[] = [];
    listeners.add([
      () => {
        throw new Error("mine");
      },
    ]);
    listeners.add(["closed", ({ type }: { type: string }) => heard.push(type)]);
    listeners.add(["quota", () => heard.push("never")]);
    listeners.tell(closed);
    expect(heard).toEqual(["closed"]);
    expect(report.mock.calls).toEqual([[new Error("mine")]]);
  });

  it("without reportError the error is thrown in a turn of its own", () => {
    const later = vi.fn<(work: () => void) => void>();
    vi.stubGlobal("reportError", undefined);
    vi.stubGlobal("queueMicrotask", later);
    const listeners = new Listeners();
    listeners.add([
      () => {
        throw new Error("later");
      },
    ]);
    listeners.tell(closed);
    expect(later.mock.calls[0]![0]).toThrow("later");
  });

  it("the same function added twice is two listeners, each removed by itself", () => {
    const listeners = new Listeners();
    const heard = vi.fn();
    const off = listeners.add([heard]);
    listeners.add([heard]);
    off();
    off();
    listeners.tell(closed);
    expect(heard).toHaveBeenCalledTimes(1);
  });

  const nothing = (): void => undefined;
  it.each([[[]], [["closed"]], [["toString", nothing]], [["closed", {}]], [[null, nothing]]])(
    "%j is refused by name",
    (args) => {
      expect(() => new Listeners().add(args)).toThrow(/on\(/);
    },
  );
});
