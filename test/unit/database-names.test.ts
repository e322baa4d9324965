/** The list of an origin's databases (src/browser/platform/names.ts), while the origin's data is cleared. */
import { afterEach, expect, test, vi } from "vitest";
import { databaseNames } from "../../src/browser/platform/names.ts";

const never = new Promise<never>(() => undefined);
const databases = vi.fn<() => Promise<readonly { readonly name: string }[]>>();

vi.useFakeTimers();
vi.stubGlobal("indexedDB", { databases });
afterEach(() => databases.mockReset());

test("who was never answered asks again, once a second", async () => {
  databases
    .mockReturnValueOnce(never)
    .mockReturnValueOnce(never)
    .mockResolvedValue([{ name: "tidemark:a" }]);
  const names = databaseNames();
  await vi.advanceTimersByTimeAsync(1_999);
  expect(databases).toHaveBeenCalledTimes(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(await names).toEqual(["tidemark:a"]);
});

test("an answer that was late counts as well", async () => {
  let answer!: (list: readonly { readonly name: string }[]) => void;
  databases.mockReturnValueOnce(new Promise((resolve) => (answer = resolve))).mockReturnValue(never);
  const names = databaseNames();
  await vi.advanceTimersByTimeAsync(1_500);
  answer([{ name: "tidemark:b" }]);
  expect(await names).toEqual(["tidemark:b"]);
});

test("IndexedDB that is off is said at once", async () => {
  databases.mockRejectedValue(new Error("off"));
  await expect(databaseNames()).rejects.toThrow("off");
  databases.mockImplementation(() => {
    throw new Error("denied");
  });
  await expect(databaseNames()).rejects.toThrow("denied");
});
