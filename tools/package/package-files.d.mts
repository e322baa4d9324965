/** Types of package-files.mjs, which is plain JavaScript because Vite's configuration and scripts load it. */
import type { Plugin } from "vite";

export function packageFiles(): Plugin;
export function servedPackageFiles(): Plugin;
export function usePackageFiles(): Promise<void>;
