/** The kernel's contract in Node, on both builds and on the reference kernel. */
import { beforeAll, describe, test } from "vitest";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { kernelCases } from "../contract/kernel-contract.ts";
import { packCases } from "../contract/pack-cases.ts";
import { debugKernel, releaseKernel, referenceKernel } from "../support/kernels.ts";

const builds = { release: releaseKernel, debug: debugKernel, reference: async () => referenceKernel() };

describe.each(Object.entries(builds))("%s", (build, open) => {
  let kernel: PackingKernel;
  beforeAll(async () => {
    kernel = await open();
  });

  test("says which build it is", ({ expect }) => {
    expect(kernel.build).toBe(build);
  });

  test.each(kernelCases)("$name", ({ run }) => run(kernel));
  test.each(packCases)("pack: $name", ({ run }) => run(kernel));
});
