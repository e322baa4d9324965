/**
 * Site data cleared under an open tide in IndexedDB; a file of its own, because the page's Web Locks end with the data.
 */
import { it } from "vitest";
import { clearedUnderOpenTide } from "./cleared.ts";

it("site data cleared under an open tide in indexeddb: the acks stop, with a typed event", () =>
  clearedUnderOpenTide("indexeddb"));
