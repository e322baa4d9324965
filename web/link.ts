/**
 * A device's link to the edge. Its address is one of the playground's own server, which passes everything on to the
 * edge, or cuts it (cli/device-links.ts). All windows of a device show the same switch.
 */
import type { DeviceName } from "./devices.ts";

type Links = Readonly<Record<string, boolean>>;

async function ask(path: string, method: "GET" | "POST"): Promise<Links> {
  const answer = await fetch(new URL(path, location.href), { method, cache: "no-store" });
  if (!answer.ok) throw new Error(`The playground's server does not know the devices' links: ${answer.status}.`);
  return (await answer.json()) as Links;
}

export class Link {
  readonly address: URL;
  readonly #device: DeviceName;
  readonly #channel: BroadcastChannel;
  readonly #listeners: ((isWhole: boolean) => void)[] = [];
  #isWhole: boolean;

  private constructor(device: DeviceName, isWhole: boolean) {
    this.#device = device;
    this.#isWhole = isWhole;
    this.address = new URL(`./link/${device}`, location.href);
    this.#channel = new BroadcastChannel(`playground-link-${device}`);
    this.#channel.onmessage = ({ data }: MessageEvent<boolean>) => this.#tell(data);
  }

  static async of(device: DeviceName): Promise<Link> {
    return new Link(device, (await ask("./links.json", "GET"))[device] ?? true);
  }

  /** `listener` is called now, and whenever the link was cut or mended. */
  onChange(listener: (isWhole: boolean) => void): void {
    this.#listeners.push(listener);
    listener(this.#isWhole);
  }

  async set(isWhole: boolean): Promise<void> {
    const links = await ask(`./links/${this.#device}?whole=${isWhole ? "yes" : "no"}`, "POST");
    this.#channel.postMessage(links[this.#device]);
    this.#tell(links[this.#device] ?? true);
  }

  #tell(isWhole: boolean): void {
    this.#isWhole = isWhole;
    for (const listener of this.#listeners) listener(isWhole);
  }
}
