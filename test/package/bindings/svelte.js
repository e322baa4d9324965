/** The topics and view of the page of `tidemark/svelte`. */
import { defineTopic, defineView } from "tidemark/svelte";
import { notesOf, ordersOf } from "./notes.js";

export const { topic, count, twice } = notesOf({ defineTopic, defineView });
export const orders = ordersOf({ defineTopic });
