import type { Plugin } from "vite";

export function packageFiles(): Plugin;
export function servedPackageFiles(): Plugin;
export function usePackageFiles(): Promise<void>;
