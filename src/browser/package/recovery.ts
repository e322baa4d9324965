/**
 * recovery.js of the package: what a log needs that was there before the tide was opened (platform/parts.ts). A first
 * visit has none.
 */
export { rememberProducers } from "../../log/remembering.ts";
export { decodeCopy } from "../../store/catalog-copy.ts";
export { refuseForeignCatalog, refuseLostCatalog } from "../../store/check-catalog.ts";
export { headersFrom, newestSnapshot } from "../../store/hops.ts";
export { replaceLost } from "../../store/lost-log.ts";
export { recoverLog } from "../../store/recover-log.ts";
export { readRole, whose } from "../../store/slot-read.ts";
