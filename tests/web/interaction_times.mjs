// How soon the page answers with 10,000 cards in its list: for a letter typed into the search box and for a click on a card, the time from
// the event until the next frame is painted, median and worst of 20. The bar is 100 ms, on a machine that does nothing else; it is no test,
// because on a busy machine the figures are the machine's. usage: LORIKEET_BUILD=build node tests/web/interaction_times.mjs
import { ask, openPage, promptOf, startServer, until, writeMany } from './harness.mjs'

const kCards = 10_000
const kTimes = 20

// From the event, as the browser stamps it, until the frame that it leads to has been handed over.
const watch = (page, type) =>
  page.evaluate((name) => {
    window.frames_ms = []
    window.addEventListener(name, (event) => {
      const channel = new MessageChannel()
      channel.port1.onmessage = () => window.frames_ms.push(performance.now() - event.timeStamp)
      requestAnimationFrame(() => channel.port2.postMessage(null))
    }, { capture: true })
  }, type)

async function measure(page, type, act) {
  await watch(page, type)
  for (let i = 0; i < kTimes; ++i) {
    await act(i)
    await page.waitForFunction((count) => window.frames_ms.length === count, i + 1)
    await page.waitForTimeout(300) // the answer of the search comes and is drawn
  }
  return (await page.evaluate(() => window.frames_ms)).sort((a, b) => a - b)
}

function print(what, times) {
  const [median, worst] = [times[Math.floor(times.length / 2)], times[times.length - 1]]
  console.log(`${what}: median ${median.toFixed(0)} ms, worst ${worst.toFixed(0)} ms of ${times.length}`)
}

const server = await startServer({ prepare: (models) => writeMany(models, kCards) })
try {
  await until('the scan', async () => {
    const { total, scanning } = await ask(server, '/library/loras?limit=1')
    return total > kCards && !scanning
  })
  const { page, errors, close } = await openPage(server)
  const networks = page.getByRole('region', { name: 'Extra networks' })
  await promptOf(page).fill('a lighthouse at dusk, oil painting')
  const cards = networks.getByRole('listitem').locator('.card')
  await cards.first().waitFor()
  const shown = await cards.count()
  print('a click on a card', await measure(page, 'click', (i) => cards.nth(i % Math.min(shown, 8)).click()))
  await page.reload()
  await cards.first().waitFor()
  const search = networks.getByRole('searchbox', { name: 'Search LoRAs' })
  await search.fill('')
  await search.focus()
  const keys = [...'card-0123', ...Array(9).fill('Backspace'), 'c', 'a']
  print('a letter in the search box', await measure(page, 'keydown', (i) => page.keyboard.press(keys[i])))
  if (errors.length) throw new Error(errors.join('\n'))
  await close()
} finally {
  await server.stop()
}
