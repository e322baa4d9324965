/** The topic and view of the page of `tidemark/svelte`. */
import { defineTopic, defineView } from "tidemark/svelte";
import { notesOf } from "./notes.js";

export const { topic, count } = notesOf({ defineTopic, defineView });
