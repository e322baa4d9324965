/** views.js of the package: changes of topics, and views, loaded by a page that uses them (platform/parts.ts). */
export { changesOf } from "../page/topic-changes.ts";
export { runView } from "../page/topic-view.ts";
