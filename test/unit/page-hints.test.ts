/** What a page tells sync of being seen, hidden and online, by the browser's own events (H26). */
import { afterEach, expect, it, vi } from "vitest";
import { hintsOfPage, isPageHidden } from "../../src/browser/sync/page-hints.ts";

afterEach(() => void vi.unstubAllGlobals());

/** A window and its document, as far as these events go. */
function page(visibilityState: "visible" | "hidden") {
  const [window, document] = [new EventTarget(), Object.assign(new EventTarget(), { visibilityState })];
  vi.stubGlobal("document", document);
  vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
  const told: string[] = [];
  const end = hintsOfPage((hint) => told.push(hint));
  return {
    told,
    end,
    become(state: "visible" | "hidden") {
      document.visibilityState = state;
      document.dispatchEvent(new Event("visibilitychange"));
    },
    window: (type: string) => void window.dispatchEvent(new Event(type)),
  };
}

it("tells each time that the page is hidden or seen", () => {
  const { told, become } = page("visible");
  expect(told).toEqual([]);
  become("hidden");
  expect(isPageHidden()).toBe(true);
  become("visible");
  expect(told).toEqual(["hidden", "seen"]);
});

it("a page that is hidden from the start says so at once", () => {
  expect(page("hidden").told).toEqual(["hidden"]);
});

it.each(["pageshow", "resume"])("%s: back from the cache of pages, or thawed; it may still be hidden", (type) => {
  const { told, window, become } = page("visible");
  window(type);
  expect(told).toEqual(["seen"]);
  become("hidden");
  window(type);
  expect(told).toEqual(["seen", "hidden", "hidden"]);
});

it("tells that there is a network again", () => {
  const { told, window } = page("visible");
  window("online");
  expect(told).toEqual(["online"]);
});

it("tells nothing any more once it has ended", () => {
  const { told, end, window, become } = page("visible");
  end();
  for (const type of ["pageshow", "resume", "online"]) window(type);
  become("hidden");
  expect(told).toEqual([]);
});

it("a worker knows of the network only, and a place without events of nothing", () => {
  const worker = new EventTarget();
  vi.stubGlobal("addEventListener", worker.addEventListener.bind(worker));
  const told: string[] = [];
  hintsOfPage((hint) => told.push(hint));
  worker.dispatchEvent(new Event("online"));
  expect([told, isPageHidden()]).toEqual([["online"], false]);
  vi.stubGlobal("addEventListener", undefined);
  expect(hintsOfPage(() => undefined)()).toBeUndefined();
});
