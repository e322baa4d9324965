/** The topic, and what its records add up to. `apply` is pure: it gives a new list, or the same one. */
import { defineTopic, defineView } from "tidemark/react";

export const notes = defineTopic("notes");
export const list = defineView(notes, {
  name: "list",
  initial: () => [],
  apply: (all, { id, value }) => (value === null ? all : [...all, { id, text: value }]),
});
