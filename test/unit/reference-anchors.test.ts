/** The API reference's links lead to the headings that they name, and one that leads nowhere fails its making. */
import { expect, test } from "vitest";
// @ts-expect-error plain JavaScript
import { withNamedAnchors } from "../../tools/reference/anchors.mjs";

const PAGES = {
  "a.md": '<a id="api-topicstate"></a>\n\n##### state\n\n[`TopicState`](#api-topicstate-1), [B](sub/b.md#api-b)\n\n',
  "sub/b.md": '<a id="api-b"></a>\n\n### B\n\n[A](../a.md), [more](https://example.org/x#y)\n',
};
const STATE = '<a id="api-topicstate-1"></a>\n\n### TopicState\n';

test("anchors stay where a link names them, and nowhere else", () => {
  const pages = { ...PAGES, "a.md": PAGES["a.md"] + STATE };
  const made = withNamedAnchors(pages) as typeof PAGES;
  expect(made["a.md"]).toBe(pages["a.md"].replace('<a id="api-topicstate"></a>\n\n', ""));
  expect(made["sub/b.md"]).toBe(pages["sub/b.md"]);
});

test("a link without its place or its page is named", () => {
  expect(() => withNamedAnchors(PAGES)).toThrow(/a\.md: #api-topicstate-1$/);
  expect(() => withNamedAnchors({ "a.md": "[C](c.md)" })).toThrow(/a\.md: c\.md$/);
});
