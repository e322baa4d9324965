/**
 * Where a tide can be opened, and what forbids it elsewhere. open() checks this before it touches anything, so that a
 * call in the wrong place gets an error and leaves nothing open. What a page's policy forbids shows only when it is
 * tried: the browser reports it in an event, beside a failure without a reason. Here the two are brought together.
 */
import { TidemarkError } from "../../errors.ts";

const DOCS = "docs/environments.md of the package";
const NEEDED_POLICY = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";
/** How long to wait for the report of a violation, which may come after the failure that it explains. */
const REPORT_MS = 100;

interface Scope {
  readonly ServiceWorkerGlobalScope?: unknown;
  readonly SharedWorkerGlobalScope?: unknown;
  readonly WorkletGlobalScope?: unknown;
}

/** APIs that every browser version in the README has, by the name that the error shows if one is missing. */
const needed = (): Readonly<Record<string, unknown>> => ({
  WebAssembly: globalThis.WebAssembly,
  "navigator.locks": (globalThis.navigator as Partial<Navigator> | undefined)?.locks,
  BroadcastChannel: globalThis.BroadcastChannel,
  MessageChannel: globalThis.MessageChannel,
  "crypto.randomUUID": (globalThis.crypto as Partial<Crypto> | undefined)?.randomUUID,
});

/** Why nothing can be opened here: a word for programs and a sentence for people. */
function obstacle(): readonly [reason: string, message: string] | undefined {
  const scope = globalThis as Scope;
  // A Cloudflare Worker has this class as well, but no address.
  const isService = scope.ServiceWorkerGlobalScope && typeof location === "object";
  if (isService || scope.SharedWorkerGlobalScope || scope.WorkletGlobalScope) {
    const [kind, reason] = isService
      ? ["a service worker", "service-worker"]
      : scope.SharedWorkerGlobalScope
        ? ["a SharedWorker", "shared-worker"]
        : ["a worklet", "worklet"];
    return [reason, `${kind} can't open a tide: open it in a page or in a dedicated worker`];
  }
  if (typeof Worker !== "function" || typeof location !== "object") {
    return [
      "no-browser",
      "this is no browser (a server or an edge that renders, a build, a test?): open the tide in a page, " +
        "behind its first paint",
    ];
  }
  if (!globalThis.isSecureContext)
    return ["insecure", "this page is not secure: serve it over https, or from localhost"];
  if (globalThis.origin === "null") {
    return [
      "opaque-origin",
      "this page has no origin, and so no storage: serve it over https; a sandbox needs allow-same-origin",
    ];
  }
  const missing = Object.entries(needed()).flatMap(([name, value]) => (value === undefined ? [name] : []));
  if (missing.length > 0)
    return ["missing", `this browser lacks ${missing.join(", ")}: the README names the versions that work`];
  return undefined;
}

/** NO_STORAGE if no tide can be opened here; nothing was touched by then. `details.reason` has the reason in a word. */
export function requireEnvironment(): void {
  const found = obstacle();
  if (found) throw new TidemarkError("NO_STORAGE", `${found[1]}. See ${DOCS}`, { reason: found[0] });
}

/** Directives that can stop an open(); `trusted-types` stops the address of a worker. */
const DIRECTIVES =
  /^(script-src|script-src-elem|worker-src|child-src|connect-src|default-src|trusted-types|require-trusted-types-for)/;
/** Values of a report that are not addresses but say what was tried. */
const WORDS = new Set(["wasm-eval", "blob", "trusted-types-policy", "trusted-types-sink"]);

/**
 * A module with one function that uses a SIMD instruction. The kernel needs SIMD in addition to the first WebAssembly.
 */
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

/** As in errors.ts, which is in core.js. This file is in browser.js, and no module may be in both. */
const isNamed = (thrown: unknown, name: string): boolean => thrown instanceof Error && thrown.name === name;

/** The error itself, and the errors that caused it. */
function causes(thrown: unknown): unknown[] {
  const found = [];
  for (let each = thrown; each !== undefined && found.length < 5; each = (each as { cause?: unknown } | null)?.cause)
    found.push(each);
  return found;
}

/** Listens for violations of the page's policy while a tide is opened. */
export class PolicyWatch {
  readonly #addresses: readonly string[];
  readonly #found: SecurityPolicyViolationEvent[] = [];
  #onFound = (): void => undefined;

  /** `addresses` of the files that are about to be loaded. */
  constructor(addresses: readonly (string | URL)[]) {
    this.#addresses = addresses.map(String);
    addEventListener("securitypolicyviolation", this.#hear);
  }

  readonly #hear = (event: SecurityPolicyViolationEvent): void => {
    if (event.disposition !== "enforce" || !DIRECTIVES.test(event.effectiveDirective)) return;
    // For an address on another origin the report has only the origin.
    const { blockedURI } = event;
    const isOurs =
      WORDS.has(blockedURI) || this.#addresses.some((address) => blockedURI !== "" && address.startsWith(blockedURI));
    if (!isOurs) return;
    this.#found.push(event);
    this.#onFound();
  };

  /** An error that says what to do, if the browser has reported more than `thrown` says. */
  async explain(thrown: unknown): Promise<unknown> {
    const all = causes(thrown);
    if (all.some((each) => isNamed(each, "SecurityError"))) {
      const message =
        "the browser denies this page its storage (blocked cookies and site data, or a frame of another " +
        `site). See ${DOCS}`;
      return new TidemarkError("NO_STORAGE", message, { reason: "denied" }, { cause: thrown });
    }
    const isSuspect = !(thrown instanceof TidemarkError) || ["LOAD_FAILED", "CLOSED", "TIMEOUT"].includes(thrown.code);
    if (isSuspect && this.#found.length === 0) await this.#report();
    const [violation] = this.#found;
    if (isSuspect && violation) return blocked(violation, thrown);
    const isCompilation = all.some((each) => isNamed(each, "CompileError"));
    if (!isCompilation) return thrown;
    // Firefox and WebKit name the policy in the message.
    if (all.some((each) => /unsafe-eval|content security policy/i.test(String(each))))
      return forbidden("WebAssembly", "script-src", thrown);
    // The kernel's file is incomplete or another file; the error that says so is kept.
    if (WebAssembly.validate(SIMD)) return thrown;
    const message =
      "this browser can't compile the kernel (it needs WebAssembly with SIMD): the README names the versions that work";
    return new TidemarkError("NO_STORAGE", message, { reason: "missing" }, { cause: thrown });
  }

  #report(): Promise<void> {
    return new Promise((resolve) => {
      this.#onFound = resolve;
      setTimeout(resolve, REPORT_MS);
    });
  }

  end(): void {
    removeEventListener("securitypolicyviolation", this.#hear);
  }
}

function blocked({ blockedURI, effectiveDirective }: SecurityPolicyViolationEvent, cause: unknown): TidemarkError {
  if (effectiveDirective.includes("trusted-types")) {
    const message =
      `the page enforces Trusted Types and forbids the policy "tidemark": add "trusted-types ` +
      `tidemark" to its Content-Security-Policy`;
    return new TidemarkError(
      "BLOCKED",
      `${message}. See ${DOCS}`,
      { directive: "trusted-types", blocked: blockedURI },
      { cause },
    );
  }
  return forbidden(blockedURI, effectiveDirective, cause);
}

function forbidden(what: string, directive: string, cause: unknown): TidemarkError {
  const message =
    `the page's Content-Security-Policy (${directive}) forbids ${what}. Tidemark needs: ` +
    `${NEEDED_POLICY}. See ${DOCS}`;
  return new TidemarkError("BLOCKED", message, { directive, blocked: what }, { cause });
}
