/** `tidemark trim`: removes records from a topic's front. */
import { UsageError } from "../failure.ts";
import type { Command } from "../arguments.ts";
import { checkPosition, openTarget, placeOf, positionOf } from "../targets.ts";
import { goOnUnread, note, offsetsText, printLine } from "../terminal.ts";
import { TOKEN, tokenOf, TOPIC } from "./target-arguments.ts";

interface TrimArguments {
  readonly target: string;
  readonly topic: string;
  readonly before?: string;
  readonly json?: boolean;
  readonly token?: string;
}

export const trim: Command = {
  meta: { name: "trim", description: "removes a topic's records before an offset or a time, for good" },
  args: {
    ...TOPIC,
    before: {
      type: "string",
      valueHint: "place",
      description: "an offset, a time, -N to keep the last N, or latest to keep none. It must be given",
    },
    json: { type: "boolean", description: "prints where the topic begins and ends now, as JSON" },
    ...TOKEN,
  },
  more:
    "Offsets of the records that stay do not change. A time keeps everything from the first record on that is not\n" +
    "older. Readers that stand before the new start get OFFSET_OUT_OF_RANGE, and devices in sync are told.\n" +
    "At an edge the token needs the rights read and admin, and a topic that forks read from is refused. A folder\n" +
    "must not be open in another process.",
  examples: [
    "tidemark trim ./data orders --before 2026-11-01T00:00:00Z",
    "tidemark trim ./data orders --before -1000",
    "TIDEMARK_TOKEN=$(tidemark token) tidemark trim https://edge.example orders --before 42",
  ],
  async run({ args }: { readonly args: TrimArguments }) {
    goOnUnread();
    const { topic, before: given } = args;
    if (given === undefined) throw new UsageError("--before is missing: an offset or a time", "trim");
    const position = positionOf("before", given);
    const target = await openTarget(args.target, { access: "change", token: tokenOf(args.token) });
    try {
      const before = await placeOf(target, topic);
      const { start } = before;
      // An offset before the start is no error: all of that is gone already.
      const offset = typeof position === "number" ? position : await target.resolve(topic, position);
      if (offset > start) {
        checkPosition(before, offset);
        await target.trim(topic, offset);
      }
      const place = await placeOf(target, topic);
      if (args.json) return await printLine(JSON.stringify({ topic, start: place.start, end: place.end }));
      const gone =
        place.start > start
          ? `${offsetsText(start, place.start)} ${place.start - 1 === start ? "is" : "are"} gone`
          : "nothing to remove";
      note(`${gone}; ${topic} has offsets ${place.start} to ${place.end}`);
    } finally {
      await target.close();
    }
  },
};
