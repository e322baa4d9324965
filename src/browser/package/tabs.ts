/**
 * tabs.js of the package: loaded when a second tab appears (platform/parts.ts). The volume in memory is here because a
 * standby worker does its warm-up over one; so a second tab needs no extras.js.
 */
export { MemoryVolume } from "../../store/memory-volume.ts";
export { Tabs } from "../tabs/membership.ts";
export { openTaken } from "../volume/copying-volume.ts";
export { serve } from "../worker/guests.ts";
export { standBy } from "../worker/standby.ts";
