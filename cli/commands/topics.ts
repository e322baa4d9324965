/** `tidemark topics`: the names of a tide's topics, or of those at an edge that the token may read. */
import type { Command } from "../arguments.ts";
import { openTarget } from "../targets.ts";
import { printLine } from "../terminal.ts";
import { TARGET, TOKEN, tokenOf } from "./target-arguments.ts";

export const topics: Command = {
  meta: { name: "topics", description: "the topics of a folder or of an edge, one a line" },
  args: { ...TARGET, ...TOKEN, json: { type: "boolean", description: "as one JSON array" } },
  more:
    "Of an edge's topics those are listed that the token may read. One that was made or deleted some seconds\n" +
    "ago may not be there yet, or still be there.",
  examples: [
    "tidemark topics ./data",
    "tidemark topics ./data --json",
    "TIDEMARK_TOKEN=$(tidemark token) tidemark topics https://edge.example",
  ],
  async run({ args }: { readonly args: { target: string; token?: string; json?: boolean } }) {
    const target = await openTarget(args.target, { token: tokenOf(args.token) });
    try {
      const names = [...(await target.topics())].sort();
      if (args.json) return await printLine(JSON.stringify(names));
      for (const name of names) await printLine(name);
    } finally {
      await target.close();
    }
  },
};
