/** Renders the page of a framework, as its server would: `node server.js react` prints { head, body }. */
const pages = import.meta.glob("./*-server.js");
const [, , name] = process.argv;
const { render } = await pages[`./${name}-server.js`]();
console.log(JSON.stringify(await render()));
