/** `npx tidemark` makes tokens that the edge takes, tells what a token says, and refuses wrong arguments. */
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { jwtVerify, SignJWT } from "jose";
import { afterAll, describe, expect, it } from "vitest";
import { Program } from "./program.ts";

const program = await new Program().build();
const directory = program.home;
afterAll(() => program.remove());

const SECRET = "a secret of at least thirty-two characters";
const OTHER = "another one that is newer and long enough";

const run = (args: readonly string[], env: Record<string, string> = {}) => program.run(args, { env });
const claimsIn = async (token: string, secret: string) =>
  (await jwtVerify(token.trim(), new TextEncoder().encode(secret), { algorithms: ["HS256"] })).payload;

describe("npx tidemark token", () => {
  it("signs with the newest secret of the environment, for everything of dev, for an hour", async () => {
    const { status, stdout } = run(["token"], { TIDEMARK_JWT_SECRETS: `${OTHER}, ${SECRET}` });
    const { tenant, scope, exp, iat } = await claimsIn(stdout, OTHER);
    expect([status, tenant, scope, exp! - iat!]).toEqual([0, "dev", "read:** write:** admin:**", 3600]);
  });

  it("puts what the options say into the token", async () => {
    const { stdout } = run([
      "token",
      "--secret",
      SECRET,
      "--tenant",
      "acme",
      "--scope",
      "read:orders/*  write:a",
      "--minutes",
      "5",
      "--issuer",
      "i",
      "--audience",
      "a",
    ]);
    expect(await claimsIn(stdout, SECRET)).toMatchObject({
      tenant: "acme",
      scope: "read:orders/* write:a",
      iss: "i",
      aud: "a",
    });
  });

  it("takes the secret from .dev.vars where it is called", async () => {
    writeFileSync(
      path.join(directory, ".dev.vars"),
      `# TIDEMARK_JWT_SECRETS="commented out"\r\nOTHER=1\n  TIDEMARK_JWT_SECRETS = "${SECRET}" # ours\n`,
    );
    expect(await claimsIn(run(["token"]).stdout, SECRET)).toMatchObject({ tenant: "dev" });
    rmSync(path.join(directory, ".dev.vars"));
  });

  it("makes secrets that are long enough, and all different", () => {
    const [one, two] = [run(["secret"]).stdout.trim(), run(["secret"]).stdout.trim()];
    expect([one.length >= 32, one === two]).toEqual([true, false]);
  });

  it.each<[readonly string[], RegExp]>([
    [[], /command/],
    [["tokens"], /"tokens"/],
    [["constructor"], /"constructor"/],
    [["token"], /no secret/],
    [["token", "--secret", "short"], /32/],
    [["token", "--secret", SECRET, "--minutes", "0"], /--minutes 0/],
    [["token", "--secret", SECRET, "--minutes", "1e3"], /--minutes/],
    [["token", "--secret", SECRET, "--minutes", "9999999"], /--minutes/],
    [["token", "--secret", SECRET, "--scope", "delete:**"], /--scope "delete/],
    [["token", "--secret", SECRET, "--scope", " "], /--scope/],
    [["token", "--secret", SECRET, "--tenant", ""], /--tenant/],
    [["token", "--sceret", SECRET], /sceret/],
    [["token", "x", "--secret", SECRET], /"x"/],
  ])("%j is refused: exit code 2, nothing printed", (args, message) => {
    const { status, stdout, stderr } = run(args);
    expect([status, stdout, stderr]).toEqual([2, "", expect.stringMatching(message)]);
  });

  it("--help names every option", () => {
    for (const args of [
      ["token", "--help"],
      ["token", "-h"],
      ["help", "token"],
    ])
      expect(run(args)).toMatchObject({ status: 0, stdout: expect.stringContaining("--minutes"), stderr: "" });
  });

  it("tells what a token says, whoever made it, and whether a secret that is here has signed it", async () => {
    const key = new TextEncoder().encode(SECRET);
    const made = await new SignJWT({ tenant: "acme", scope: "read:a" })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime(1_000_000_000)
      .sign(key);
    const decoded = (...more: string[]) => JSON.parse(program.good(["token", "--decode", made, ...more])) as object;
    const said = { claims: { tenant: "acme", scope: "read:a", exp: 1e9 }, expires: "2001-09-09T01:46:40.000Z" };
    expect(decoded("--secret", SECRET)).toMatchObject({ ...said, isExpired: true, signature: "good" });
    expect(decoded("--secret", OTHER)).toMatchObject({ signature: "not by any secret that is here" });
    expect(decoded()).toMatchObject({ signature: expect.stringContaining("no secret is here") as string });
    // Microseconds, by somebody's mistake: no date has that year.
    const far = await new SignJWT({ exp: 1.7e15 }).setProtectedHeader({ alg: "HS256" }).sign(key);
    expect(JSON.parse(program.good(["token", "--decode", far]))).toMatchObject({
      claims: { exp: 1.7e15 },
      expires: "1700000000000000000",
      isExpired: false,
    });
    for (const token of ["x", "a.b.c", `${made}.x`, "e30.W10.x", "e30.bnVsbA.x"])
      expect(run(["token", "--decode", token])).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("no token"),
      });
  });
});
