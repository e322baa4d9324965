/** Hard cases of docs/sync.md about tokens (H23). As in hard-cases.ts, each history is written down. */
import type { Stage } from "./stage.ts";
import { OTHER_OWNER, OWNER, type Token, TokenDesk, tokenText } from "./tokens.ts";

const SENT_MS = 60;
/** Within it a session hears of a token, and joins anew. */
const LOOK_MS = 5_000;
/** The time for which the edge refuses each token, and the most tokens that pages may be asked for meanwhile. */
const REFUSING_MS = 300_000;
const ASKED_MAX = 30;

/** Tokens that each page gives, one for each call: whose they are, and what they allow. */
export function deskOf(
  { edge, random, time }: Stage,
  token: () => Partial<Token> & Pick<Token, "owner" | "write">,
): TokenDesk {
  const now = (): number => edge.now();
  const host = { random, now, mayFail: () => false, count: () => undefined, sleep: (ms: number) => time.sleep(ms) };
  const desk = new TokenDesk(host);
  let n = 0;
  desk.token = async () => tokenText({ exp: now() / 1000 + 3_600, iat: now() / 1000, n: n++, ...token() });
  return desk;
}

/**
 * H23: over HTTP a device gets the token of another owner, and records are written before, meanwhile and behind that.
 * None of them goes out with it. Once the owner is back they do.
 */
async function othersOverHttp(stage: Stage): Promise<void> {
  const { edge, seed } = stage;
  let owner = OWNER;
  stage.desk = deskOf(stage, () => ({ owner, write: true }));
  edge.onPush = (_, by) => by !== OWNER && stage.fail(`leak: a push as ${by}`);
  await stage.time.until(edge.make());
  const device = stage.device();
  device.isBarred = true;
  await stage.write(device);
  await stage.level(device);
  const { link, session } = device.opening!;
  owner = OTHER_OWNER;
  void device.opening!.append([stage.record()]);
  await stage.run(seed % SENT_MS);
  link!.step({ on: "authenticate" });
  for (let i = 0; i < 2; i++) await stage.write(device);
  await stage.until("it does not stop", () => session!.state.at === "stopped");
  if (!device.isOverHttp) stage.fail("it was not over HTTP");
  owner = OWNER;
  link!.step({ on: "authenticate" });
  await stage.end();
}

/** H23: a token is refused at its renewal, and pages give it again and again until somebody signs in. */
async function refusedAtRenewal(stage: Stage): Promise<void> {
  let given: Partial<Token> = {};
  stage.desk = deskOf(stage, () => ({ owner: OWNER, write: true, ...given }));
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  given = { exp: 1, iat: 0, n: -1 };
  device.opening!.link!.step({ on: "authenticate" });
  await stage.until("it is not refused", () => device.opening!.link!.state.at === "backoff");
  await stage.write(device);
  given = {};
  await stage.end();
}

/**
 * H23: over HTTP a device that has nothing to send gets the token of another owner. It stops, and what others write
 * comes once its owner is back.
 */
async function othersWhileIdle(stage: Stage): Promise<void> {
  const { edge, time } = stage;
  let owner = OWNER;
  stage.desk = deskOf(stage, () => ({ owner, write: true }));
  await time.until(edge.make());
  const device = stage.device();
  device.isBarred = true;
  await stage.write(device);
  await stage.level(device);
  const { link, session } = device.opening!;
  const renewed = session!.renewed.bind(session);
  // The link's word may come before the follow has ended, in the same turn: then it finds nothing to do.
  session!.renewed = () => undefined;
  owner = OTHER_OWNER;
  link!.step({ on: "authenticate" });
  // Long before another connection would tell it.
  await stage.run(LOOK_MS);
  if (session!.state.at !== "stopped") stage.fail(`liveness: ${session!.state.at} with another owner's token`);
  if (!device.isOverHttp) stage.fail("it was not over HTTP");
  session!.renewed = renewed;
  await time.until(edge.append(stage.record()));
  owner = OWNER;
  link!.step({ on: "authenticate" });
  await stage.end();
}

/**
 * H23: pages give a new token each time, and the edge refuses them all, as where its secret is another one. It is asked
 * ever less often, and goes on once tokens are good. Every other device is over HTTP, where a connection opens at once.
 */
async function eachRefused(stage: Stage): Promise<void> {
  const { edge, random, seed } = stage;
  let given: Partial<Token> = {};
  let asked = 0;
  stage.desk = deskOf(stage, () => (asked++, { owner: OWNER, write: true, ...given }));
  await stage.time.until(edge.make());
  const device = stage.device();
  device.isBarred = seed % 2 === 0;
  await stage.write(device);
  await stage.level(device);
  given = { exp: 1, iat: 0 };
  edge.cutAll();
  await stage.run(random.int(SENT_MS));
  asked = 0;
  await stage.run(REFUSING_MS);
  if (asked > ASKED_MAX) stage.fail(`storm: ${device.name} asks for ${asked} tokens in ${REFUSING_MS} ms`);
  given = {};
  await stage.end();
}

export const TOKEN_CASES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  "H23: a token of another owner over HTTP": othersOverHttp,
  "H23: a token of another owner over HTTP while nothing waits": othersWhileIdle,
  "H23: a token that is refused at its renewal": refusedAtRenewal,
  "H23: each token is refused": eachRefused,
};
