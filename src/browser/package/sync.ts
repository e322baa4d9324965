/** sync.js of the package: sync with an edge, loaded by the page and the worker that need it (platform/parts.ts). */
export { pageSync } from "../sync/page-sync.ts";
export { leadingSync } from "../sync/leading-sync.ts";
