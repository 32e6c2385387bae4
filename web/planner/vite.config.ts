import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  plugins: [svelte()],
  // The policy the page is served under allows no data: scripts, and nothing small is worth inlining.
  build: { target: "es2022", outDir: "dist", assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
  worker: { format: "es" },
  // The scenarios stand beside the page, in the repository's own folder.
  server: { fs: { allow: ["../.."] } },
});
