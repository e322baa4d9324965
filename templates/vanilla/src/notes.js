/** What the records of the topic "notes" add up to: a list. Pure: it gives a new list, or the same one. */
export const list = {
  name: "list",
  initial: () => [],
  apply: (all, { id, value }) => (value === null ? all : [...all, { id, text: value }]),
};
