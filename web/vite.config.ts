import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../sim_devin/web/page",
    emptyOutDir: true,
    assetsInlineLimit: 0, // inlined assets would need data: in the content security policy
    chunkSizeWarningLimit: 700,
  },
});
