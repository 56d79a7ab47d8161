// Words -> a card -> its slider -> pictures.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, cardOf, chooseSmall, differences, drawnPicture, generate, generateButton, openPage, pixelsOf, promptOf, startServer, until } from './harness.mjs'

let server, page, errors, close
before(async () => {
  server = await startServer()
  ;({ page, errors, close } = await openPage(server))
  await chooseSmall(page)
})
after(async () => {
  await close?.()
  await server?.stop()
})
const slider = () => page.getByRole('slider', { name: 'Multiplier of tiny-style, slider' })
const setSlider = (value) => slider().fill(String(value))

test('a click on a card puts its tag into the prompt, a second click takes it out', async () => {
  await promptOf(page).fill('a house')
  await cardOf(page, 'tiny-style').click()
  assert.match(await promptOf(page).inputValue(), /^a house <lora:tiny-style:1>/)
  await cardOf(page, 'tiny-style').click()
  assert.equal(await promptOf(page).inputValue(), 'a house')
})

test('the slider and the number in the text are one', async () => {
  await cardOf(page, 'tiny-style').click()
  await setSlider(0.35)
  assert.match(await promptOf(page).inputValue(), /<lora:tiny-style:0\.35>/)
  await promptOf(page).fill('a house <lora:tiny-style:-0.5:0.2>')
  assert.equal(await slider().inputValue(), '-0.5')
  await setSlider(0)
  assert.equal(await promptOf(page).inputValue(), 'a house <lora:tiny-style:0:0.2>')
})

test('a LoRA changes the picture, and at 0 it is the picture without it', async () => {
  await promptOf(page).fill('a house')
  const without = await pixelsOf(page, (await generate(page, server)).url)
  await cardOf(page, 'tiny-style').click()
  const withIt = await pixelsOf(page, (await generate(page, server)).url)
  await setSlider(0)
  const atZero = await pixelsOf(page, (await generate(page, server)).url)
  assert.equal(without.length, 64 * 64 * 3)
  assert.ok(differences(without, withIt) > without.length / 10)
  assert.equal(differences(without, atZero), 0)
})

test('the report of the LoRA and the infotext stand with the picture', async () => {
  await page.getByText(/of \d+ modules/).first().waitFor()
  await page.getByRole('button', { name: 'Open the picture' }).click()
  const view = page.getByRole('dialog', { name: /^Picture 1 of/ })
  await view.getByText('CFG scale').waitFor()
  await page.keyboard.press('ArrowRight')
  await page.getByRole('dialog', { name: /^Picture 2 of/ }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
})

test('a picture sent to the prompt brings its settings back', async () => {
  await promptOf(page).fill('something else')
  await page.getByRole('spinbutton', { name: 'Steps', exact: true }).fill('9')
  await page.getByRole('group', { name: 'Send the picture to' }).getByRole('button', { name: 'Prompt' }).click()
  await until('the prompt', async () => (await promptOf(page).inputValue()).startsWith('a house'))
  assert.equal(await page.getByRole('spinbutton', { name: 'Steps', exact: true }).inputValue(), '3')
})

test('a reload loses nothing of the form', async () => {
  await promptOf(page).fill('a lighthouse <lora:tiny-style:0.6>')
  await page.getByRole('textbox', { name: 'Negative prompt' }).fill('blurry')
  await page.reload()
  await slider().waitFor()
  assert.equal(await promptOf(page).inputValue(), 'a lighthouse <lora:tiny-style:0.6>')
  assert.equal(await page.getByRole('textbox', { name: 'Negative prompt' }).inputValue(), 'blurry')
  assert.equal(await page.getByRole('spinbutton', { name: 'Width', exact: true }).inputValue(), '64')
  assert.equal(await slider().inputValue(), '0.6')
})

test('what the server refuses is said under the button, with a hint', async () => {
  await promptOf(page).fill('a house <lora:tiny-stlye:1>')
  await generateButton(page).click()
  await page.getByRole('alert').getByText(/tiny-stlye/).first().waitFor()
  await page.getByRole('alert').getByText(/tiny-style/).first().waitFor()
  await promptOf(page).fill('a house')
})

test('what runs can be cancelled', async () => {
  await page.getByRole('spinbutton', { name: 'Steps', exact: true }).fill('1000')
  await generateButton(page).click()
  await page.getByRole('progressbar').first().waitFor()
  await page.getByRole('button', { name: 'Cancel', exact: true }).click()
  await until('the end', async () => (await ask(server, '/jobs?limit=1')).jobs[0].state === 'cancelled')
  await page.getByRole('button', { name: 'Cancel', exact: true }).waitFor({ state: 'detached' })
  await page.getByRole('spinbutton', { name: 'Steps', exact: true }).fill('3')
})

test('Skip leaves the batch that is made and goes on with the next', async () => {
  await page.getByRole('spinbutton', { name: 'Steps', exact: true }).fill('600')
  await page.getByRole('spinbutton', { name: 'Batches', exact: true }).fill('2')
  const before = (await ask(server, '/pictures?limit=1')).total
  await generateButton(page).click()
  await page.getByRole('button', { name: 'Skip', exact: true }).click()
  await page.getByText('batch 1 of 2 was skipped').waitFor()
  assert.equal((await ask(server, '/pictures?limit=1')).total, before + 1)
  await page.getByRole('button', { name: 'Skip', exact: true }).waitFor({ state: 'detached' })
  await page.getByRole('spinbutton', { name: 'Batches', exact: true }).fill('1')
  await page.getByRole('spinbutton', { name: 'Steps', exact: true }).fill('3')
})

test('Ctrl-Enter generates, Ctrl-up changes the weight of the selected words', async () => {
  await promptOf(page).fill('red fox')
  await promptOf(page).selectText()
  await page.keyboard.press('Control+ArrowUp')
  await page.keyboard.press('Control+ArrowUp')
  assert.equal(await promptOf(page).inputValue(), '(red fox:1.2)')
  const before = (await ask(server, '/pictures?limit=1')).total
  await page.keyboard.press('Control+Enter')
  await until('a picture', async () => (await ask(server, '/pictures?limit=1')).total > before)
})

test('inpainting changes what is painted over and keeps the rest', async () => {
  await page.getByRole('tab', { name: 'Inpaint' }).click()
  const file = { name: 'start.png', mimeType: 'image/png', buffer: await drawnPicture(page, '#2244aa') }
  const start = page.getByRole('region', { name: 'Start picture' })
  await start.getByLabel('Picture to start from').setInputFiles(file)
  const canvas = start.locator('canvas')
  const box = await canvas.boundingBox()
  await canvas.scrollIntoViewIfNeeded()
  await page.mouse.move((await canvas.boundingBox()).x + box.width * 0.5, (await canvas.boundingBox()).y + box.height * 0.5)
  await page.mouse.down()
  await page.mouse.move((await canvas.boundingBox()).x + box.width * 0.6, (await canvas.boundingBox()).y + box.height * 0.5)
  await page.mouse.up()
  await start.getByRole('spinbutton', { name: 'Mask blur (px)' }).fill('0')
  const made = await generate(page, server)
  const [now, then] = [await pixelsOf(page, made.url), await pixelsOf(page, `data:image/png;base64,${file.buffer.toString('base64')}`)]
  const at = (x, y) => (y * 64 + x) * 3
  assert.deepEqual(now.slice(at(2, 2), at(10, 2)), then.slice(at(2, 2), at(10, 2)))
  assert.notDeepEqual(now.slice(at(30, 32), at(38, 32)), then.slice(at(30, 32), at(38, 32)))
  await page.getByRole('button', { name: 'Undo', exact: true }).click()
  await generateButton(page).click()
  await page.getByRole('alert').getByText('Paint over the part that is to change.').waitFor()
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
