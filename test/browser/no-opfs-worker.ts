/** The library's worker in a browser without OPFS handles. Imports run in this order. */
import "./without-opfs.ts";
import "../../src/browser/worker/worker-entry.ts";
