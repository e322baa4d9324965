/**
 * A page of each framework that appends at a rate, and shows a view, 200 components of it, and the last records
 * meanwhile (frames/).
 */
import { fresh } from "./common.ts";
import type { Mount, Page } from "./frames/shown.ts";

const mounts = import.meta.glob<{ readonly mount: Mount }>(["./frames/*.ts", "./frames/*.jsx", "!./frames/shown.ts"]);
const mountOf = async (framework: string): Promise<Mount> =>
  (await (mounts[`./frames/${framework}.ts`] ?? mounts[`./frames/${framework}.jsx`])!()).mount;

/** Between two bursts of appends. */
const PACE_MS = 10;
const IDLE_FRAMES = 60;

const frame = (): Promise<number> => new Promise((resolve) => requestAnimationFrame(resolve));

interface Drawn {
  readonly appended: number;
  /** How long each frame took. */
  readonly frames: readonly number[];
  /** Of the same page before it appends: what the machine draws at all. */
  readonly idleFrameMs: number;
}

export const frames = {
  async frames(framework: string, perSecond: number, seconds: number): Promise<Drawn> {
    const place = document.body.appendChild(document.createElement("div"));
    const mount = await mountOf(framework);
    let page: Page | undefined;
    const unmount = mount(place, fresh(), (now) => (page = now));
    while (!page) await frame();
    if (!(await page.append({ value: "first" }))) throw new Error(`the page of ${framework} appends nothing`);
    const idle = await frame();
    let idleEnd = idle;
    for (let i = 0; i < IDLE_FRAMES; i++) idleEnd = await frame();
    const acks: Promise<unknown>[] = [];
    const began = await frame();
    const timer = setInterval(() => {
      const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
      while (acks.length < due) acks.push(page!.append({ value: `record ${acks.length}` }));
    }, PACE_MS);
    const drawn: number[] = [];
    let now = began;
    while (now - began < seconds * 1000) {
      const next = await frame();
      drawn.push(next - now);
      now = next;
    }
    clearInterval(timer);
    const appended = acks.length;
    await Promise.all(acks);
    while (page.shown() < appended + 1) await frame();
    unmount();
    place.remove();
    return { appended, frames: drawn, idleFrameMs: (idleEnd - idle) / IDLE_FRAMES };
  },
};
