/** A member's own text in a line of JSON: a parser would lose digits of its numbers. */

/** Position behind the JSON value that begins at `at`, in a text that is known to be JSON. */
function behindValue(text: string, at: number): number {
  let depth = 0;
  for (let end = at; ; end++) {
    const char = text[end];
    if (char === '"') end = behindText(text, end) - 1;
    else if (char === "{" || char === "[") depth++;
    else if (char === "}" || char === "]") {
      if (depth-- === 0) return end;
    } else if (char === "," && depth === 0) return end;
  }
}

function behindText(text: string, at: number): number {
  let end = at + 1;
  while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  return end + 1;
}

/** A member's own text in a JSON object. Of members that are repeated the last one counts, as in JSON.parse. */
export function textOfMember(text: string, name: string): string {
  let found = "";
  for (let at = text.indexOf("{") + 1; text.indexOf('"', at) >= 0;) {
    const start = text.indexOf('"', at);
    const behindName = behindText(text, start);
    const value = text.indexOf(":", behindName) + 1;
    const end = behindValue(text, value);
    if ((JSON.parse(text.slice(start, behindName)) as string) === name) found = text.slice(value, end).trim();
    at = end + 1;
    if (text[end] === "}") break;
  }
  return found;
}
