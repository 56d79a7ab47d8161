// The tests of the page's logic: compiled by esbuild, run by node's own runner, and the whole page checked for types and accessibility.
// usage: node unit.mjs FOLDER (for what is compiled)
import { build } from 'esbuild'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const source = path.resolve(here, '../..')
const out = path.resolve(process.argv[2] ?? 'unit')
const tests = readdirSync(path.join(here, 'unit')).filter((name) => name.endsWith('.test.ts'))
await build({
  entryPoints: tests.map((name) => path.join(here, 'unit', name)),
  outdir: out, bundle: true, platform: 'node', format: 'esm', outExtension: { '.js': '.mjs' }, logLevel: 'warning',
})

const run = (...command) => spawnSync(process.execPath, command, { stdio: 'inherit', cwd: source }).status ?? 1
const tested = run('--test', ...tests.map((name) => path.join(out, name.replace(/\.ts$/, '.mjs'))))
const checked = run('node_modules/svelte-check/bin/svelte-check', '--tsconfig', 'web/tsconfig.json', '--config', 'web/svelte.config.js', '--fail-on-warnings')
process.exit(tested || checked)
