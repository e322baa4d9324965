/** A tide is in one engine, whichever tab asks. */
import { TidemarkError } from "../../errors.ts";
import type { Engine } from "../../store/volume.ts";

/**
 * ENGINE_MISMATCH if the tide is in another engine than the one that was named. `auto` never means memory, which keeps
 * nothing.
 */
export function refuseOther(name: string, engine: Engine, asked: Engine | "auto"): void {
  if (asked === engine || (asked === "auto" && engine !== "memory")) return;
  const help =
    asked === "auto"
      ? 'open it with { engine: "memory" }, too, or under another name'
      : `open it without an engine or with "${engine}", or under another name`;
  throw new TidemarkError(
    "ENGINE_MISMATCH",
    `the tide ${name} lives in ${engine}, and ${asked} was asked for: ${help}`,
    { name, engine, asked },
  );
}
