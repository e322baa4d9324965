/** Devices (outbox-device.ts) at the logs of the Worker under test, inside workerd. */
import { env, SELF } from "cloudflare:test";
import type { Wire } from "../../src/sync/edge-socket.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { objectName } from "../../worker/rpc/stubs.ts";
import { batchMaker, Device } from "./outbox-device.ts";

const { LOGS } = env;

export const at = (path: string): string => `http://localhost/v1/stream/${path}`;
export const logObject = (path: string): never => LOGS.get(LOGS.idFromName(objectName("dev", path))) as never;
export const batchAt = batchMaker(await edgeKernel());

export async function makeLog(path: string, contentType = "text/plain", headers: object = {}): Promise<string> {
  const asked = { method: "PUT", headers: { "content-type": contentType, ...headers } };
  const response = await SELF.fetch(at(path), asked);
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
  await response.arrayBuffer();
  return path;
}

export const textOf = async (path: string): Promise<string> => (await SELF.fetch(`${at(path)}?offset=-1`)).text();

type Upgraded = Response & { webSocket: (Wire & { accept(): void; binaryType: string }) | null };
type Fetching = (request: Request) => Promise<Response>;
/** Where a token is asked for. */
const secure = (path: string): string => `https://edge.example/v1/stream/${path}`;

/** A token goes as browsers send it; `edge` stands for the Worker of this test. */
export async function connect(
  path: string,
  token?: string,
  edge: Fetching = (request) => SELF.fetch(request),
): Promise<Device> {
  const headers = { upgrade: "websocket", ...(token && { "sec-websocket-protocol": `tidemark.1, bearer.${token}` }) };
  const response = (await edge(new Request(token ? secure(path) : at(path), { headers }))) as Upgraded;
  if (!response.webSocket) throw new Error(`${response.status} ${await response.text()}`);
  response.webSocket.binaryType = "arraybuffer";
  response.webSocket.accept();
  const device = new Device(response.webSocket, response.headers.get("sec-websocket-protocol"));
  await device.hello;
  return device;
}
