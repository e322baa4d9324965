/**
 * segments.js of the package: sealed segments, how one comes to be, what a new slot's name needs, and reads of few
 * records in large batches (platform/parts.ts).
 */
export { readFew } from "../../log/few-records.ts";
export { examine, loadIndexes } from "../../store/examine.ts";
export { roll } from "../../store/roll.ts";
export { readSections } from "../../store/sections.ts";
export { fillBlock } from "../volume/torn-names.ts";
