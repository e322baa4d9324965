/**
 * Keyboard shortcuts: those in the buttons' `aria-keyshortcuts`. They are Alt and a letter, so typing is never
 * affected.
 */
export function keys(): void {
  addEventListener("keydown", (event) => {
    if (!event.altKey || event.ctrlKey || event.metaKey) return;
    const letter = event.code.replace(/^Key/, "");
    const target = document.querySelector<HTMLElement>(`[aria-keyshortcuts="Alt+${CSS.escape(letter)}"]`);
    if (!target) return;
    event.preventDefault();
    target.focus();
    if (target instanceof HTMLButtonElement) target.click();
  });
}
