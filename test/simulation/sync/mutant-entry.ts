/** The exports of a bundle of the simulation of sync: over the product in it, which may have a planted bug. */
export { FRAME_FAULTS, runFrames } from "./each-frame.ts";
export { floorOf, rareIn } from "./expected.ts";
export { HISTORIES, runHistory } from "./histories.ts";
export { runRefusedWrites } from "./refused-writes.ts";
export { runSync } from "./seeds.ts";
