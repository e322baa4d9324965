/** The kernel of the edge and of tests: what browsers have, and what only servers call. */
export * from "./index";
export { pack } from "./pack";
