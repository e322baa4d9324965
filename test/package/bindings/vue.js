/** The topics and view of the page of `tidemark/vue`. */
import { defineTopic, defineView } from "tidemark/vue";
import { notesOf, ordersOf } from "./notes.js";

export const { topic, count, twice } = notesOf({ defineTopic, defineView });
export const orders = ordersOf({ defineTopic });
