/** The rule for names of views. It lies with what folds, so that a first visit does not load it. */
import { refused } from "./check.ts";
import { checkTopicName } from "./names.ts";

/** INVALID_ARGUMENT that names the view's option. */
export function checkViewName(name: unknown): void {
  try {
    checkTopicName(name);
  } catch {
    throw refused("name", name, "a view's name: 1 to 249 of A-Z a-z 0-9 . _ - (and neither . nor ..)");
  }
}
