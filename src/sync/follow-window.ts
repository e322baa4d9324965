/**
 * The window of one follow: how many bytes of batches the edge may send before the client gives credits back.
 *
 *   window   credits that the edge has │ on their way, or waiting │ taken by the loop, not given back yet
 *
 * Credits go back once a part of the window was taken, so small batches need no frame each. When the edge starves it
 * gets all of them at once, and as many more as its next batch lacks.
 */
const GIVEN_PART = 1 / 4;

export class FollowWindow {
  #bytes: number;
  #taken = 0;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /**
   * The loop has taken this frame's bytes. `resize` says what the window is from now on, given what it is and the least
   * that it can become. Returns the credits that go back now; 0 if none do.
   */
  took(bytes: number, resize?: (has: number, least: number) => number): number {
    const has = this.#bytes;
    const taken = this.#taken + bytes;
    this.#bytes = resize?.(has, has - taken) ?? has;
    this.#taken = taken + this.#bytes - has;
    return this.#taken < this.#bytes * GIVEN_PART ? 0 : this.#give();
  }

  /** The edge's next batch needs this many bytes, and all frames before it were taken. Returns the credits to give. */
  starved(needed: number): number {
    this.#taken += Math.max(0, needed - this.#bytes);
    this.#bytes = Math.max(this.#bytes, needed);
    return this.#give();
  }

  #give(): number {
    const credits = this.#taken;
    this.#taken = 0;
    return credits;
  }
}
