/** Exports a whole topic, segment by segment, and imports one. Loaded by the first such call. */
import { TidemarkError } from "../../errors.ts";
import { checkOptions } from "../../topic/check.ts";
import type { ImportedFile } from "../../topic/imported-files.ts";
import type { SegmentExport, SegmentImport, SegmentsImported, Topic } from "../api.ts";
import { counted } from "../platform/counted-call.ts";
import { EXPORT_OPTIONS } from "../tools/check-calls.ts";

type Exported = Pick<Topic, "state" | "exportSegment">;

/** Segments from `from` on, up to the end as of this call. */
export async function* exportAll(
  topic: Exported,
  options: { readonly leaderEpoch?: number | undefined } = {},
): AsyncGenerator<SegmentExport> {
  // Also where the topic is empty.
  checkOptions("export()", options, EXPORT_OPTIONS);
  let { logStartOffset: next, highWatermark: end, segments } = await topic.state();
  while (next < end) {
    const segment = segments.find(({ nextOffset }) => nextOffset > next);
    if (!segment) return;
    try {
      const files = segment.bytes > 0 && (await topic.exportSegment(segment.baseOffset, options));
      next = segment.nextOffset;
      if (files) yield files;
    } catch (thrown) {
      // The segment was removed or rewritten meanwhile, so the list is asked for again.
      const { code } = TidemarkError.from(thrown);
      if (code !== "INVALID_ARGUMENT" && code !== "OFFSET_OUT_OF_RANGE") throw thrown;
      const before = segment.baseOffset;
      ({ segments } = await topic.state());
      if (segments.some(({ baseOffset }) => baseOffset === before)) throw thrown;
    }
  }
}

const isWalkedOnce = (files: Iterable<ImportedFile>): boolean =>
  typeof (Object(files) as Partial<Iterator<unknown>>).next === "function" && Symbol.iterator in files;

/**
 * A tab that wrote may have gone with the answer. Then the call is made once more, and finds the topic filled: by this
 * import, or by somebody else.
 */
export async function importOnce(
  ask: (asked: object) => Promise<SegmentsImported>,
  files: Iterable<ImportedFile>,
  options: SegmentImport | undefined,
): Promise<SegmentsImported> {
  // A generator can't be walked again for a second try.
  const call = counted({ files: isWalkedOnce(files) ? [...files] : files, options }, "files");
  return ask(call.asked).catch((thrown: unknown) => {
    const { details } = TidemarkError.from(thrown);
    throw details["reason"] === "filled" ? call.unlessRepeated(thrown) : thrown;
  });
}
