/** Site data cleared under an open tide in OPFS; a file of its own, because the page's Web Locks end with the data. */
import { it } from "vitest";
import { clearedUnderOpenTide } from "./cleared.ts";

it("site data cleared under an open tide in opfs: the acks stop, with a typed event", () =>
  clearedUnderOpenTide("opfs"));
