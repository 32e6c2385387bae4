import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  plugins: [svelte()],
  // The policy the page is served under allows no data: scripts, and nothing small is worth inlining.
  build: { target: "es2022", outDir: "dist", assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
  worker: { format: "es" },
  // The engine's tests compute; a busy machine may be slow at it.
  test: { testTimeout: 120_000 },
  // The scenarios stand beside the page, in the repository's own folder.
  server: { fs: { allow: ["../.."] } },
});
