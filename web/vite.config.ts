// Builds the page. CMake calls `vite build web --outDir <build folder>/page/dist` (cmake/page.cmake); `npm run dev` serves it while one
// works on it and passes the API on to a server that runs already.
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: { target: 'es2022', modulePreload: { polyfill: false }, emptyOutDir: true, reportCompressedSize: false },
  server: { proxy: { '/api': 'http://127.0.0.1:7860' } },
})
