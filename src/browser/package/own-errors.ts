/**
 * A worker's own TidemarkError and loader: no page can hand it the ones that it has from browser.js. What a page is
 * handed stays the only one there, so this is a function that only workers call. Here it names the modules as they
 * are; the build (tools/package/build.mjs) puts their code inside the function.
 */
import { assert, TidemarkError } from "../../errors.ts";
import { importFile, loadFailed } from "../platform/load.ts";
import type { Handed } from "./errors.ts";

export const ownErrors = (): Handed => ({ TidemarkError, assert, importFile, loadFailed });
