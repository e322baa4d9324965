/** Which paths a pattern matches, in a token's scope and in a subscription. */

/** `*` stands for one path segment or a part of one, `**` for any number of segments. Matches without backtracking. */
export function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const given = path.split("/");
  // reach[j]: the pattern so far matches the first j segments.
  let reach = given.map(() => false);
  reach.unshift(true);
  for (const part of wanted) {
    const next = reach.map(() => false);
    for (let j = 0; j <= given.length; j++) {
      if (part === "**") next[j] = reach[j]! || (j > 0 && next[j - 1]!);
      else next[j] = j > 0 && reach[j - 1]! && matchesSegment(part, given[j - 1]!);
    }
    reach = next;
  }
  return reach[given.length]!;
}

function matchesSegment(pattern: string, text: string): boolean {
  const parts = pattern.split("*");
  if (parts.length === 1) return pattern === text;
  const [first, last] = [parts[0]!, parts.at(-1)!];
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
