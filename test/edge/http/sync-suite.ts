/** What the files of tests of devices in sync share. A file calls `closeDevices` before it stops its worker. */
import { SyncDevice } from "./sync-device.ts";

const devices: SyncDevice[] = [];

/** A device that `closeDevices` closes. */
export async function openDevice(volume?: SyncDevice["volume"]): Promise<SyncDevice> {
  const device = await SyncDevice.open(volume);
  devices.push(device);
  return device;
}

/** Closes what `openDevice` has opened. */
export async function closeDevices(): Promise<void> {
  for (const device of devices.splice(0)) await device.close();
}

/** Each call gives another path below `folder`, so that no test finds the log of another one. */
export function pathsBelow(folder: string): () => string {
  let count = 0;
  return () => `${folder}/${++count}`;
}

/** Values as they stand in a log of JSON. */
export const json = (values: readonly string[]): string[] => values.map((value) => JSON.stringify(value));
