// The page as such: its weight, the phone, names of controls, the look, plots, picture info, the queue.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, chooseSmall, generate, open, openPage, promptOf, startServer, until } from './harness.mjs'

const kViews = ['Generate', 'Plot', 'Train', 'Library', 'Picture info', 'Queue']
let server, page, errors, close
before(async () => {
  server = await startServer()
  ;({ page, errors, close } = await openPage(server))
})
after(async () => {
  await close?.()
  await server?.stop()
})

test('the first load is below 300 KB', async () => {
  const loaded = await page.evaluate(() => [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]
    .filter(({ name }) => !name.includes('/api/')).map(({ name, encodedBodySize }) => [name, encodedBodySize]))
  const sum = loaded.reduce((all, [, size]) => all + size, 0)
  assert.ok(loaded.length >= 3, JSON.stringify(loaded))
  assert.ok(sum > 10_000 && sum < 300_000, JSON.stringify(loaded))
})

test('every control of every view has a name', async () => {
  const kNameless = /^\s*- (button|link|textbox|searchbox|combobox|slider|spinbutton|checkbox|tab|progressbar|img)(:| \[|$)/
  for (const view of kViews) {
    await open(page, view)
    for (const mode of view === 'Generate' ? ['img2img', 'Inpaint', 'txt2img'] : ['']) {
      if (mode) await page.getByRole('tab', { name: mode }).click()
      await page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)))
      const tree = await page.locator('body').ariaSnapshot()
      assert.deepEqual(tree.split('\n').filter((line) => kNameless.test(line)), [], view)
      assert.ok(tree.includes('- button "') || tree.includes('- textbox "'), view)
    }
  }
  await open(page, 'Generate')
})

test('light and dark are a choice that lasts', async () => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const button = page.getByRole('button', { name: /^Look:/ })
  await button.click()
  const light = await background()
  await button.click()
  const dark = await background()
  assert.notEqual(light, dark)
  await page.reload()
  await button.waitFor()
  assert.equal(await background(), dark)
})

test('a plot of a LoRA multiplier is a sheet', async () => {
  await chooseSmall(page, 2)
  await promptOf(page).fill('a house <lora:tiny-style:1>')
  await open(page, 'Plot')
  await page.getByRole('textbox', { name: 'Values' }).fill('0, 1')
  await page.getByRole('button', { name: 'Make the plot (2 pictures)' }).click()
  await page.getByRole('button', { name: 'Open the sheet' }).waitFor()
  await page.getByRole('textbox', { name: 'Values' }).fill('nonsense')
  await page.getByRole('button', { name: /^Make the plot/ }).click()
  await page.getByRole('alert').first().waitFor()
  await open(page, 'Generate')
})

test('the text of a picture is read, and sent back to Generate', async () => {
  await promptOf(page).fill('a green boat')
  const made = await generate(page, server)
  const buffer = Buffer.from(await (await fetch(server.url + made.url)).arrayBuffer())
  await open(page, 'Picture info')
  await page.getByLabel('Picture to look into').setInputFiles({ name: 'boat.png', mimeType: 'image/png', buffer })
  await page.getByText('a green boat', { exact: true }).waitFor()
  await open(page, 'Generate')
  await promptOf(page).fill('')
  await open(page, 'Picture info')
  await page.getByLabel('Picture to look into').setInputFiles({ name: 'boat.png', mimeType: 'image/png', buffer })
  await page.getByRole('button', { name: 'Send to Generate' }).click()
  await until('the prompt', async () => (await promptOf(page).inputValue()) === 'a green boat')
})

test('the queue shows what waits, changes its order, and cancels', async () => {
  const send = (prompt) => fetch(server.url + '/api/v1/jobs', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ kind: 'generate', title: prompt, request: { prompt, steps: 1000, width: 64, height: 64, seed: 1 } }),
  })
  for (const prompt of ['first', 'second', 'third']) await send(prompt)
  await open(page, 'Queue')
  const waiting = page.getByRole('region', { name: 'Waiting' })
  await waiting.getByText('third').waitFor()
  await waiting.getByRole('button', { name: 'Sooner: third' }).click()
  await until('the order', async () => (await waiting.getByRole('article').first().innerText()).includes('third'))
  const cancel = page.getByRole('button', { name: 'Cancel', exact: true })
  await until('the end', async () => {
    if (await cancel.count()) await cancel.first().click({ timeout: 2000 }).catch(() => {})
    return (await ask(server, '/jobs')).jobs.every(({ state }) => state !== 'running' && state !== 'waiting')
  })
  await page.getByText('Nothing is running.').waitFor()
})

test('on a phone no view scrolls sideways', async () => {
  const phone = await openPage(server, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
  try {
    for (const view of kViews) {
      await open(phone.page, view)
      await phone.page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)))
      const [wide, most] = await phone.page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
      assert.ok(wide <= most && most === 390, `${view}: ${wide} of ${most}`)
    }
    assert.deepEqual(phone.errors, [])
  } finally {
    await phone.close()
  }
})

test('on a phone the picture fills the window, with its text under it and buttons in reach', async () => {
  await open(page, 'Generate')
  for (const prompt of ['a red boat', 'a blue boat']) {
    await promptOf(page).fill(prompt)
    await generate(page, server)
  }
  const phone = await openPage(server, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
  try {
    await phone.page.getByRole('button', { name: 'Open the picture' }).tap()
    const view = phone.page.getByRole('dialog', { name: /^Picture 1 of/ })
    await view.getByText('CFG scale').waitFor()
    const isInside = async (what) => {
      const box = await what.boundingBox()
      assert.ok(box && box.x >= 0 && box.y >= 0 && box.x + box.width <= 390 && box.y + box.height <= 844, `${what}: ${JSON.stringify(box)}`)
      return box
    }
    const picture = await isInside(view.getByRole('img').first())
    assert.ok(picture.width > 200, `${picture.width} px wide`)
    for (const name of ['Close', 'Next picture', 'Prompt', 'img2img', 'Inpaint', 'Delete the picture']) await isInside(view.getByRole('button', { name, exact: true }))
    await isInside(view.getByRole('link', { name: 'Download' }))
    await view.getByRole('button', { name: 'Next picture' }).tap()
    await phone.page.getByRole('dialog', { name: /^Picture 2 of/ }).getByRole('button', { name: 'Close' }).tap()
    await phone.page.getByRole('dialog').waitFor({ state: 'detached' })
    assert.deepEqual(phone.errors, [])
  } finally {
    await phone.close()
  }
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
