/** extras.js of the package: code that is loaded on demand, in one file (platform/parts.ts). */
export { firstAt } from "../../log/time-seek.ts";
export { Upkeep } from "../../log/upkeep.ts";
export { compressBatch, gunzip } from "../../record/codec.ts";
export { deleteLog, replaceSegments, trimSegments } from "../../store/trim-and-replace.ts";
export { tideOfSlots } from "../../store/whose-catalog.ts";
export { offsetForTimestamp } from "../../store/time-lookup.ts";
export { absentLog } from "../worker/absent-log.ts";
export { destroyTide, removeTide } from "../volume/destroy.ts";
export { deleteNamed } from "../page/delete-topic.ts";
export { appendAll } from "../page/append-all.ts";
export { exportAll, importOnce } from "../page/whole-topic.ts";
export { counted } from "../platform/counted-call.ts";
export { controlOver } from "../port/control-client.ts";
export { offerControl } from "../worker/control-host.ts";
