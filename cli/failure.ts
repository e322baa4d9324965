/**
 * How a command fails, and what its exit code says:
 *
 *   0   done
 *   1   the work failed: damage was found, the edge refuses, the disk is full …
 *   2   the command was called wrongly; nothing was done
 */
import { TidemarkError } from "../src/errors.ts";

/** The command was called wrongly: exit code 2. */
export class UsageError extends Error {
  /** `of`: the command whose help is named. */
  constructor(
    message: string,
    readonly of?: string,
  ) {
    super(message);
  }
}

/** The work failed in a way that a command knows: exit code 1. */
export class Failure extends Error {}

const TOKEN_MADE = "tidemark token makes one";
const TOKEN_ADVICE = `give a token that may do this: --token, or TIDEMARK_TOKEN; ${TOKEN_MADE}`;

/** Advice for an import whose files are damaged. */
export const ADVICE_ON_DAMAGE = "`tidemark verify` shows what is damaged, and --repair FOLDER takes what is whole";

/** Advice for code. A person at a terminal can't follow it, so it is taken out of the message. */
const ADVICE_TO_CODE = '; { damage: "skip" } takes what is whole';

/** What a person can do about an error of the library, where its message does not say it. */
const ADVICE: { readonly [code in TidemarkError["code"]]?: string | undefined } = {
  ALREADY_OPEN: "one process at a time writes to a folder; topics, info, tail and export read beside it",
  UNKNOWN_TOPIC: "append makes a topic",
  CORRUPT_RANGE: "`tidemark verify` shows what is damaged, and --repair saves the rest",
  NO_STORAGE: "append and import make a folder; an edge's address begins with http:// or https://",
  INVALID_BATCH: ADVICE_ON_DAMAGE,
  CORRUPT_CATALOG: "`tidemark verify` shows what is left, and --repair saves it",
  QUOTA_EXCEEDED: "make room on the disk, and call it again",
  OUTCOME_UNKNOWN: "with --state the same call goes on where it was, and appends nothing twice",
  TIMEOUT: "is the edge running, and is the address right?",
};

/** The same where the edge says it: nobody can verify a folder there, or make room on its disk. */
const ADVICE_ON_EDGE: typeof ADVICE = {
  CORRUPT_RANGE: "--from with an offset behind the damage reads on",
  CORRUPT_CATALOG: "docs/operations.md says how the edge's operator puts the log back to an earlier time",
  QUOTA_EXCEEDED: undefined,
};

/** Advice on an error of the library. Undefined where its message has the advice. */
function adviceOn({ code, details }: TidemarkError): string | undefined {
  if ([401, 403].includes(Number(details["status"]))) return TOKEN_ADVICE;
  return details["edge"] !== undefined && code in ADVICE_ON_EDGE ? ADVICE_ON_EDGE[code] : ADVICE[code];
}

/** The system's word for a request that failed, in brackets: fetch() says only that it failed. */
export function systemWordOf(thrown: unknown): string {
  for (let each = thrown; each instanceof Error; each = each.cause) {
    const { code } = each as NodeJS.ErrnoException;
    if (!(each instanceof TidemarkError) && typeof code === "string") return ` (${code})`;
  }
  return "";
}

/** The system says that there is no room. */
export const isFull = (thrown: unknown): boolean =>
  ["ENOSPC", "EDQUOT"].includes((thrown as NodeJS.ErrnoException | null)?.code ?? "");

/** One line that says what went wrong and what to do. */
export function lineOf(thrown: unknown): string {
  if (thrown instanceof TidemarkError) {
    if (thrown.details["field"] === "token")
      return `--token, or TIDEMARK_TOKEN, is no token: it has 1 to 8192 characters, without a space (${TOKEN_MADE})`;
    const advice = adviceOn(thrown);
    const message = thrown.message.replace(ADVICE_TO_CODE, "");
    const said = `${message}${systemWordOf(thrown)}`;
    return advice === undefined ? said : `${said} (${advice})`;
  }
  if (thrown instanceof UsageError || thrown instanceof Failure) return thrown.message;
  const { code, message } = thrown as NodeJS.ErrnoException;
  if (code === undefined) return String((thrown as Error | undefined)?.stack ?? thrown);
  return isFull(thrown) ? `${message}: ${ADVICE.QUOTA_EXCEEDED}` : message;
}
