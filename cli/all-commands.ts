/** The commands of `tidemark`, in the order in which help and completion show them. */
import type { Command } from "./arguments.ts";
import { append } from "./commands/append.ts";
import { assets } from "./commands/assets.ts";
import { bench } from "./commands/bench.ts";
import { completionOf } from "./commands/completion.ts";
import { dev } from "./commands/dev.ts";
import { dump } from "./commands/dump.ts";
import { exportCommand } from "./commands/export.ts";
import { importCommand } from "./commands/import.ts";
import { info } from "./commands/info.ts";
import { tail } from "./commands/tail.ts";
import { secret, token } from "./commands/token.ts";
import { topics } from "./commands/topics.ts";
import { trim } from "./commands/trim.ts";
import { verify } from "./commands/verify.ts";

export const COMMANDS: readonly Command[] = [
  dev,
  topics,
  info,
  tail,
  append,
  exportCommand,
  importCommand,
  trim,
  dump,
  verify,
  bench,
  assets,
  token,
  secret,
  completionOf(() => COMMANDS),
];
