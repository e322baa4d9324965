/** Topics with a schema in a page: its topic is real, and so are the worker's side and the log below it. */
import { afterEach } from "vitest";
import { typedContract } from "../contract/typed-contract.ts";
import { endPages, typedPage } from "./page-fixtures.ts";

afterEach(endPages);
typedContract(typedPage);
