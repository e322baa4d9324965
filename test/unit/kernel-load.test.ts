/** Every form in which a host may pass the kernel's module to its loader, and what happens to a wrong one. */
import { expect, test } from "vitest";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { loadKernel } from "../../src/kernel/load.ts";
import { WasmKernel } from "../../src/kernel/wasm-kernel.ts";
import { fails } from "../contract/check.ts";
import { utf8 } from "../contract/kernel-samples.ts";
import { kernelBytes } from "../support/kernels.ts";

const bytes = await kernelBytes("release");
const works = async (kernel: ReturnType<typeof loadKernel>): Promise<void> => {
  expect((await kernel).crc32c(utf8("123456789"))).toBe(0xe3069283);
};

test("a module, bytes, a buffer, a response of any content type", async () => {
  await works(loadKernel(await WebAssembly.compile(bytes)));
  await works(loadKernel(bytes));
  await works(loadKernel(bytes.buffer));
  await works(loadKernel(new Response(bytes, { headers: { "content-type": "text/plain" } })));
});

test("an address, and one that has no file", async () => {
  const server = createServer((request, response) => {
    if (request.url === "/kernel.wasm") response.end(bytes);
    else response.writeHead(404).end("<html>");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await works(loadKernel(new URL("/kernel.wasm", base)));
    await works(loadKernel(`${base}/kernel.wasm`));
    await fails("INVALID_ARGUMENT", loadKernel(`${base}/missing.wasm`));
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("a kernel of another version is refused at load", async () => {
  const { instance } = await WebAssembly.instantiate(bytes);
  for (const [name, value] of [
    ["BATCH_BYTES_MAX", 1],
    ["RECORDS_MAX", 1],
    ["COLUMNS", 7],
    ["INDEX_INTERVAL_BYTES", 1],
    ["END", 1e9],
  ] as const) {
    const other = { exports: { ...instance.exports, [name]: new WebAssembly.Global({ value: "i32" }, value) } };
    await fails("INTERNAL", () => new WasmKernel(other as WebAssembly.Instance));
  }
  const nothing = { exports: { memory: new WebAssembly.Memory({ initial: 1 }) } };
  await fails("INTERNAL", () => new WasmKernel(nothing as WebAssembly.Instance));
});

test("two kernels share nothing", async () => {
  const [one, two] = [await loadKernel(bytes), await loadKernel(bytes)];
  const seed = one.crc32c(utf8("1234"));
  two.crc32c(new Uint8Array(100));
  expect(one.crc32c(utf8("56789"), seed)).toBe(0xe3069283);
});
