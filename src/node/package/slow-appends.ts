/** In the package it replaces src/browser/page/slow-appends.ts: there is no worker that could hang. */
export class SlowAppends {
  sent(): void {}
  answered(): void {}
}
