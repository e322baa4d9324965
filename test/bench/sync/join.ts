/**
 * What a join costs on the wire: the frames "join" and "joined" of a device that has followed a log of many batches, so
 * that it has as many samples as a join may have. The device runs under Node, with the code of the browser's worker.
 */
import { FRAME_HEADER_BYTES, FrameType } from "../../../src/sync/frames.ts";
import { SyncDevice } from "../../edge/http/sync-device.ts";
import type { DeviceConfig } from "../../sync/events.ts";
import { tokenOf } from "../../sync/tokens.ts";

/** Counts the frames of these types that go through any WebSocket of this process, until it is ended. */
class Meter {
  readonly #own = globalThis.WebSocket;
  readonly bytes = new Map<number, number>();

  constructor() {
    const note = (data: unknown): void => {
      if (!(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) return;
      const frame = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset);
      if (frame.length >= FRAME_HEADER_BYTES) this.bytes.set(frame[1]!, data.byteLength);
    };
    globalThis.WebSocket = class extends this.#own {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        this.addEventListener("message", ({ data }) => note(data));
      }
      override send(data: never): void {
        note(data);
        super.send(data);
      }
    };
  }

  /** Of the newest frame of this type. */
  of(type: number): number {
    const bytes = this.bytes.get(type);
    if (bytes === undefined) throw new Error(`no frame of type ${type} was seen`);
    return bytes;
  }
  end(): void {
    globalThis.WebSocket = this.#own;
  }
}

/** Bytes of both frames, of the second join of a device; `records` are in the log at `path`. */
export async function joinBytes({ edge, path }: DeviceConfig, records: number): Promise<number> {
  const meter = new Meter();
  const device = await SyncDevice.open();
  try {
    await device.start({
      url: edge!,
      token: () => tokenOf("joiner", 60),
      topics: { orders: { path, serializer: "bytes" } },
    });
    await device.level();
    if (device.of().watermark !== records) throw new Error(`the device holds ${device.of().watermark} of ${records}`);
    await device.write(Uint8Array.of(1));
    await device.level();
    await device.page.pause();
    meter.bytes.clear();
    await device.page.resume();
    await device.page.caughtUp();
    return meter.of(FrameType.JOIN) + meter.of(FrameType.JOINED);
  } finally {
    meter.end();
    await device.close();
  }
}
