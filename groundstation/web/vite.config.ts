import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `npm run dev -- --port 5173` shows the page with live reload; GROUNDTRACK_STATION names the
// daemon that it reads.
const station = process.env.GROUNDTRACK_STATION ?? 'http://127.0.0.1:7180';

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // dist/ holds a committed note beside what is built; scripts/clean.js removes the rest.
    emptyOutDir: false,
    // The page's security policy allows no data: images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The finer coastline is fetched only when it is drawn.
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { '/api': { target: station, changeOrigin: true } } },
});
