/** Checks what openTopic() is given. INVALID_ARGUMENT names the field. */
import { TidemarkError } from "../../src/errors.ts";
import { checkCompaction, checkRetention } from "../../src/log/limits.ts";
import { type Check, checkOptions, elsewhere, flag, refused, wellFormed } from "../../src/topic/check.ts";
import { PRODUCER_OPTIONS, TYPING } from "../../src/topic/options.ts";
import { checkSerializer } from "../../src/topic/serializer.ts";
import { faultOfPath, isReservedPath, PATH_BYTES_MAX } from "../wire/paths.ts";
import type { TopicEnv } from "./api.ts";

const { codec } = PRODUCER_OPTIONS;
const tenant: Check = (field, value) => {
  wellFormed(field, value);
  if (value === "") throw refused(field, value, "a text that is not empty");
};
const OPTIONS = {
  ...Object.fromEntries(TYPING.map((name) => [name, elsewhere])),
  tenant,
  serializer: checkSerializer,
  codec,
  idempotent: flag,
  retention: (field: string, value: unknown) => checkRetention(value, field),
  compaction: (field: string, value: unknown) => checkCompaction(value, field),
};

/** As over HTTP: there a topic of another name could be neither read nor deleted. */
const NAMES = `1 to ${PATH_BYTES_MAX} bytes without control characters, no part . or .., not beginning with __ds`;

export function checkTopic(env: unknown, name: unknown, options: unknown): void {
  if (typeof (env as Partial<TopicEnv> | undefined)?.LOGS?.idFromName !== "function") {
    throw new TidemarkError("INVALID_ARGUMENT", "openTopic(env, …): env has no binding LOGS of Durable Objects", {
      field: "env",
    });
  }
  wellFormed("name", name);
  if (faultOfPath(name as string) !== undefined || isReservedPath(name as string)) throw refused("name", name, NAMES);
  checkOptions("openTopic()", options, OPTIONS);
}
