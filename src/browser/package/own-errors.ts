/**
 * A worker's own TidemarkError and loader. In a page both come from browser.js, once, so that `instanceof` holds. A
 * worker shares no objects with its page, so it makes its own, by calling this function. In the sources the function
 * imports the two modules; the build (tools/package/build.mjs) puts their code inside it, so that a page which loads
 * this file gets no second class.
 */
import { assert, TidemarkError } from "../../errors.ts";
import { importFile, loadFailed } from "../platform/load.ts";
import type { Handed } from "./errors.ts";

export const ownErrors = (): Handed => ({ TidemarkError, assert, importFile, loadFailed });
