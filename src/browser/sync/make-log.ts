/** Makes the log of a topic at the edge, where it is missing, by one PUT. */
import { TidemarkError } from "../../errors.ts";
import { pathInAddress } from "../../sync/http-words.ts";
import type { LinkState } from "../../sync/link-state.ts";
import type { SyncHost } from "../../sync/sync-host.ts";
import { creationHeaders, type KeptOptions } from "../../sync/topic-options.ts";

/** Why the edge did not make a log, by the status of its answer. */
const WHY: Readonly<Record<number, string>> = {
  401: "the edge refuses the token (401), or wants one",
  403: "the token may not make it (403)",
  404: "nothing is there (404): see the option url of sync",
};

/** `edge`: its address. Resolves where there is a log already (409). Else UNKNOWN_TOPIC, with the Retry-After. */
export async function makeLog(
  { http }: Pick<SyncHost, "http">,
  edge: string,
  link: LinkState,
  path: string,
  kept: KeptOptions,
): Promise<void> {
  const token = link.at === "live" ? link.token : undefined;
  const url = `${edge}/v1/stream/${pathInAddress(path)}`;
  const { status, retryMs } = await http({ method: "PUT", url, token, headers: creationHeaders(kept) });
  if (status >= 300 && status !== 409)
    throw new TidemarkError("UNKNOWN_TOPIC", `no log ${path} can be made at ${edge}: ${WHY[status] ?? status}`, {
      edge: status === 403 ? "FORBIDDEN" : status === 429 ? "TOO_MANY_REQUESTS" : "NOT_FOUND",
      status,
      ...(retryMs && { retryAfter: retryMs / 1000 }),
    });
}
