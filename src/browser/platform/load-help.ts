/**
 * The advice for a file of the package that can't be loaded. A worker of the package gets this text from its page
 * (../package/own-errors.ts).
 */
export const LOAD_HELP =
  `Try again once there is a network. If it is missing, copy the package's files with ` +
  `"npx tidemark assets <folder>" and name the folder: open(name, { assets: "/<folder>/" })`;
