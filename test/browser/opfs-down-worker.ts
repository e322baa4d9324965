/** The library's worker while OPFS fails as a whole. Imports run in this order. */
import "./opfs-down.ts";
import "../../src/browser/worker/worker-entry.ts";
