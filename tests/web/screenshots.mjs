// The pictures of the page in the README. usage: LORIKEET_BUILD=build node tests/web/screenshots.mjs URL [FOLDER]
// URL: a server that runs with the demo model (./run serve); it makes some pictures there. FOLDER: docs/pictures.
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { cardOf, generate, open, openPage, promptOf } from './harness.mjs'

const [url, folder = 'docs/pictures'] = process.argv.slice(2)
if (!url) throw new Error('which server? node tests/web/screenshots.mjs http://127.0.0.1:7860')
const server = { url: url.replace(/\/$/, '') }
mkdirSync(folder, { recursive: true })

async function take(name, options, steps) {
  const { page, close } = await openPage(server, { viewport: { width: 1280, height: 860 }, ...options })
  await steps(page)
  await page.mouse.move(0, 0)
  await page.evaluate(() => window.scrollTo(0, 0)) // filling a field may have scrolled
  await page.waitForTimeout(400)
  await page.screenshot({ path: path.join(folder, `${name}.png`) })
  await close()
}

async function write(page) {
  await promptOf(page).fill('a red boat by the sea')
  await cardOf(page, 'blueprint').click()
  await page.getByRole('combobox', { name: 'Where blueprint works' }).selectOption({ label: 'the right half' })
  await page.getByRole('slider', { name: 'Multiplier of blueprint, slider' }).fill('0.9')
  for (const seed of [1, 4, 6]) {
    await page.getByRole('spinbutton', { name: 'Seed', exact: true }).fill(String(seed))
    await generate(page, server)
  }
}

await take('page-light', { colorScheme: 'light' }, write)
await take('page-dark', { colorScheme: 'dark' }, async (page) => {
  await promptOf(page).fill('a sks robot at night')
  for (const name of ['robot', 'neon']) await cardOf(page, name).click()
  await page.getByRole('slider', { name: 'Multiplier of neon, slider' }).fill('0.5')
  await generate(page, server)
})
await take('page-phone', { colorScheme: 'dark', viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true }, async (page) => {
  await promptOf(page).fill('a yellow fish by the sea')
  await cardOf(page, 'sketch').click()
  await generate(page, server)
})
// The last one, because its map is then the newest picture.
await take('page-library', { colorScheme: 'light' }, async (page) => {
  await open(page, 'Library')
  await page.getByRole('region', { name: 'Library' }).getByRole('button', { name: 'neon', exact: true }).click()
  const details = page.getByRole('region', { name: 'Details' })
  await details.getByRole('tab', { name: 'Look into' }).click()
  await details.getByRole('button', { name: 'Look into' }).click()
  await details.getByRole('img', { name: 'Map of what changes where' }).waitFor()
})
