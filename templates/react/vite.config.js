/** tidemark/react begins with "use client", for frameworks with server components. Vite drops that, which is right. */
const onwarn = (warning, warn) => {
  if (warning.code !== "MODULE_LEVEL_DIRECTIVE") warn(warning);
};

export default { build: { rolldownOptions: { onwarn } } };
