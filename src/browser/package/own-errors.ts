/**
 * A worker's own TidemarkError and loader. In a page both come from browser.js, once, so that `instanceof` holds. A
 * worker shares no objects with its page, so it makes its own, by calling this function. In the sources the function
 * imports the two modules; the build (tools/package/build.mjs) puts their code inside it, so that a page which loads
 * this file gets no second class. The words of errors come from the page, because base.js has them already.
 */
import { assert, TidemarkError } from "../../errors.ts";
import { importFile, loadFailed } from "../platform/load.ts";
import type { ErrorWords } from "../platform/parts.ts";
import type { Handed } from "./errors.ts";

export const ownErrors = (_words: ErrorWords): Handed => ({ TidemarkError, assert, importFile, loadFailed });
