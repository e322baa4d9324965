/** What the page of each framework shows while it appends: the topic, its view, and how often. */
import { defineTopic, defineView } from "../../../../src/bindings/followers.ts";
import type { AppendCalls } from "../../../../src/bindings/appending.ts";
import type { RecordInput } from "../../../../src/browser/index.ts";

export const topic = defineTopic<string>("records");
export const count = defineView(topic, { name: "count", initial: () => 0, apply: (n: number) => n + 1 });
/** Components that show the view, beside one with the last records and one with what is pending. */
export const COMPONENTS = 200;
export const LAST = { last: 20 };

export interface Page {
  readonly append: AppendCalls<RecordInput<string>>["append"];
  /** How many records the page shows that it has. */
  readonly shown: () => number;
}
/** Shows the page in this place, over a tide of this name, and tells it once it is there. Gives back what ends it. */
export type Mount = (place: Element, name: string, ready: (page: Page) => void) => () => void;
