/** Small helpers over the document. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Partial<HTMLElementTagNameMap[K]> & { dataset?: DOMStringMap } = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const { dataset, ...rest } = props;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  made.append(...children);
  return made;
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id} on the page`);
  return found as T;
}

export const number = (value: number): string => Math.round(value).toLocaleString("en-US");

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  return value < 1024 * 1024 ? `${(value / 1024).toFixed(1)} KiB` : `${(value / 1024 / 1024).toFixed(1)} MiB`;
}

export const date = (ms: number): string => new Date(ms).toISOString().replace("T", " ").slice(0, 19);

/** Runs a button's work with the button out of use, and shows an error's code where one comes. */
export function onClick(id: string, output: HTMLElement, work: () => Promise<void>): void {
  const button = byId<HTMLButtonElement>(id);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await work();
    } catch (thrown) {
      output.textContent = thrown instanceof Error ? thrown.message : String(thrown);
    } finally {
      button.disabled = false;
    }
  });
}
