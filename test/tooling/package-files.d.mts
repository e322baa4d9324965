import type { Plugin } from "vite";

export function packageFiles(): Plugin;
export function usePackageFiles(): Promise<void>;
