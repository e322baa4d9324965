/** `tidemark info`: where a topic begins and ends, its settings, its segments, its damage. */
import type { Command } from "../arguments.ts";
import { openTarget, placeOf } from "../targets.ts";
import { counted, dim, printLine, red, sizeText, timeText } from "../terminal.ts";
import type { QuarantinedRange, SegmentInfo } from "../../src/store/log-store.ts";
import { TOKEN, tokenOf, TOPIC } from "./target-arguments.ts";

export const info: Command = {
  meta: { name: "info", description: "where a topic begins and ends, its settings, segments and damage" },
  args: { ...TOPIC, ...TOKEN, json: { type: "boolean", description: "as JSON" } },
  examples: ["tidemark info ./data orders", "tidemark info https://edge.example orders --json"],
  async run({ args }: { readonly args: { target: string; topic: string; token?: string; json?: boolean } }) {
    const target = await openTarget(args.target, { token: tokenOf(args.token) });
    try {
      const { start, end, details } = await placeOf(target, args.topic);
      if (args.json) return await printLine(JSON.stringify({ topic: args.topic, start, end, ...details }));
      const {
        segments = [],
        quarantined = [],
        ...rest
      } = details as { segments?: readonly SegmentInfo[]; quarantined?: readonly QuarantinedRange[] };
      await printLine(`${args.topic}: offsets ${start} to ${end}, ${(end - start).toLocaleString("en")} of them`);
      for (const [name, value] of Object.entries(rest)) {
        const isEmpty = value === undefined || JSON.stringify(value) === "{}";
        if (!isEmpty) await printLine(`${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
      }
      for (const { baseOffset, nextOffset, state, bytes, records, maxTimestamp, compacted } of segments) {
        const last = maxTimestamp < 0 ? "" : `, last ${timeText(maxTimestamp)}`;
        const kind = compacted ? `${state}, compacted` : state;
        await printLine(
          dim(
            `segment ${baseOffset} to ${nextOffset}: ${kind}, ${counted(records, "record")}, ${sizeText(bytes)}${last}`,
          ),
        );
      }
      for (const { from, to, reason } of quarantined) await printLine(red(`damaged: ${from} to ${to} (${reason})`));
    } finally {
      await target.close();
    }
  },
};
