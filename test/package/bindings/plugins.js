/** What the frameworks need of Vite. The plugins are the repository's. */
export const plugins = () => [];
