/** The kernel of the edge and of tests: what browsers have, and what only servers call. */
export * from "./index";
export { encodeElements } from "./elements";
export { isJson } from "./json";
export { pack } from "./pack";
