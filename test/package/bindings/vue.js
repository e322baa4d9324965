/** The topic and view of the page of `tidemark/vue`. */
import { defineTopic, defineView } from "tidemark/vue";
import { notesOf } from "./notes.js";

export const { topic, count } = notesOf({ defineTopic, defineView });
