/**
 * tabs.js of the package: what is loaded when a second tab shows up (platform/parts.ts). The volume in memory is here,
 * because a worker that stands by rehearses over one: a second tab needs no extras.js.
 */
export { MemoryVolume } from "../../store/memory-volume.ts";
export { Tabs } from "../tabs/membership.ts";
export { openTaken } from "../volume/copying-volume.ts";
export { serve } from "../worker/guests.ts";
export { standBy } from "../worker/standby.ts";
