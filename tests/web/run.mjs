// The tests of the page in a real browser, against the real server: one file after the other. usage: node run.mjs BUILD [FILE…]
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const [build, ...asked] = process.argv.slice(2)
const all = readdirSync(here).filter((name) => name.endsWith('.test.mjs'))
const files = asked.length ? all.filter((name) => asked.some((part) => name.startsWith(part))) : all
let failed = files.length ? 0 : 1
for (const file of files) {
  const run = spawnSync(process.execPath, ['--test', path.join(here, file)], { stdio: 'inherit', env: { ...process.env, LORIKEET_BUILD: build } })
  if (run.status !== 0) ++failed
}
process.exit(failed ? 1 : 0)
