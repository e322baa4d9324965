/** On a server. */
import { renderToString } from "react-dom/server";
import { app } from "./react.js";

export const render = async () => ({ body: renderToString(app()), head: "" });
