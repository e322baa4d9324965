/**
 * Short histories of sync that are written down: those that once failed, and those that show what the drawn ones
 * (world.ts) meet too seldom. Each must pass, and fails with the planted bugs that name it (rule-mutants.ts).
 */
import { Stage } from "./stage.ts";

type History = (stage: Stage) => Promise<void>;

/** While a reader looks, its records settle and their place is passed. What it was shown is as of before. */
async function lookWhileSettling(stage: Stage): Promise<void> {
  const { edge } = stage;
  await stage.time.until(edge.make());
  const device = stage.device();
  await stage.level(device);
  edge.isReachable = false;
  edge.cutAll();
  await stage.write(device);
  const storage = device.opening!.storage!;
  const shown = storage.shown.bind(storage);
  storage.shown = async () => {
    const before = await shown();
    edge.isReachable = true;
    while (!stage.isLevel(device)) await stage.time.sleep(1);
    edge.cutAll();
    while (device.passedTo === 0) await stage.time.sleep(1);
    return before;
  };
  await stage.judge.look(device);
  storage.shown = shown;
  await stage.end();
}

/** A copy has taken over. The other one has nothing to claim for, and an append is under way as it looks. */
async function appendWhileLeaving(stage: Stage): Promise<void> {
  await stage.time.until(stage.edge.make());
  const device = stage.device();
  await stage.write(device);
  await stage.level(device);
  const { store } = device.opening!.storage!;
  const claimStand = store.claimStand.bind(store);
  let isFirst = true;
  store.claimStand = (look) => {
    if (isFirst) void device.opening!.append([stage.record()]);
    isFirst = false;
    return claimStand(look);
  };
  stage.device({ disk: device.disk.copy() });
  await stage.until("nobody claims", () => !isFirst);
  await stage.end();
}

export const HISTORIES: Readonly<Record<string, History>> = {
  "a look while records settle": lookWhileSettling,
  "an append while an id is left": appendWhileLeaving,
};

/** Why the history fails; undefined: it passes. */
export async function runHistory(name: string): Promise<string | undefined> {
  const stage = new Stage();
  await HISTORIES[name]!(stage);
  return stage.failed;
}
