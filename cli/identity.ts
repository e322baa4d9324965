/** One name for a target, however a call spells it: states and manifests tell targets apart by it. */
import { realpathSync } from "node:fs";
import path from "node:path";

/** An address without a slash at its end, or a folder's real path. */
export function identityOf(target: string): string {
  if (/^https?:/i.test(target) && URL.canParse(target)) return new URL(target).href.replace(/\/+$/, "");
  try {
    return realpathSync(target);
  } catch {
    return path.resolve(String(target));
  }
}
