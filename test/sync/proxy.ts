/** A proxy of TCP connections that can be cut: the network between devices and an edge. */
import { createServer, connect, type Server, type Socket } from "node:net";

export class CuttableNetwork {
  readonly #target: number;
  readonly #open = new Set<Socket>();
  #server!: Server;
  #isCut = false;
  port = 0;

  constructor(target: number) {
    this.#target = target;
  }

  async start(): Promise<this> {
    this.#server = createServer((client) => this.#take(client));
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = (this.#server.address() as { port: number }).port;
    return this;
  }

  #take(client: Socket): void {
    if (this.#isCut) return void client.destroy();
    const edge = connect(this.#target, "127.0.0.1");
    for (const [one, other] of [
      [client, edge],
      [edge, client],
    ] as const) {
      this.#open.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        this.#open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }

  /** All connections end, and no new one is taken. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#open) socket.destroy();
  }
  heal(): void {
    this.#isCut = false;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
