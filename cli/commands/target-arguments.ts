/** Arguments that several commands have. */
import type { Arguments } from "../arguments.ts";

export const TARGET = {
  target: { type: "positional", description: "a folder of tidemark/node, or the address of an edge", required: true },
} as const satisfies Arguments;

export const TOPIC = {
  ...TARGET,
  topic: {
    type: "positional",
    description: "the topic; at an edge also a path, such as teams/42/orders",
    required: true,
  },
} as const satisfies Arguments;

export const TOKEN = {
  token: {
    type: "string",
    mayBeEmpty: true,
    description: "bearer token for an edge. Default: the environment's TIDEMARK_TOKEN",
  },
} as const satisfies Arguments;

export const tokenOf = (given: string | undefined): string | undefined =>
  given ?? (process.env["TIDEMARK_TOKEN"] || undefined);
