/** segments.js of the package: sealed segments, and how one comes to be (platform/parts.ts). */
export { examine, loadIndexes } from "../../store/examine.ts";
export { roll } from "../../store/roll.ts";
export { readSections } from "../../store/sections.ts";
