// A person's first hour, with the demo model that ./run serve offers: words, styles, a subject, a new word, inpainting, a LoRA of one's own.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, cardOf, differences, generate, generateButton, open, openPage, pixelsOf, promptOf, startServer, until } from './harness.mjs'

const kSide = 128
let server, page, errors, close
before(async () => {
  server = await startServer({ demo: true })
  ;({ page, errors, close } = await openPage(server))
  for (const [name, value] of [['Steps', 12], ['Seed', 7]]) await page.getByRole('spinbutton', { name, exact: true }).first().fill(String(value))
})
after(async () => {
  await close?.()
  await server?.stop()
})

// The share of the pixels, r g b of 0..255, of which `is` is true.
const share = (pixels, is) => {
  let count = 0
  for (let i = 0; i < pixels.length; i += 3) count += is(pixels[i], pixels[i + 1], pixels[i + 2])
  return count / (pixels.length / 3)
}
const isDark = (r, g, b) => 0.2126 * r + 0.7152 * g + 0.0722 * b < 51
const isRed = (r, g, b) => r > 110 && r > 1.8 * g && r > 1.8 * b
const isBlue = (r, g, b) => b > 110 && b > 1.5 * r && b > 1.2 * g
const made = async () => pixelsOf(page, (await generate(page, server)).url)
let house

test('the size is the one that the checkpoint was trained at', async () => {
  for (const name of ['Width', 'Height']) assert.equal(await page.getByRole('spinbutton', { name, exact: true }).inputValue(), String(kSide))
})

test('the prompt decides the colour', async () => {
  await promptOf(page).fill('a blue house in a meadow')
  const blue = await made()
  await promptOf(page).fill('a red house in a meadow')
  house = await made()
  assert.equal(house.length, kSide * kSide * 3)
  assert.ok(share(house, isRed) > 0.08, `red: ${share(house, isRed)}`)
  assert.ok(share(blue, isRed) < 0.04, `red in the blue one: ${share(blue, isRed)}`)
  assert.ok(share(blue, isBlue) > share(house, isBlue) + 0.05, `blue: ${share(blue, isBlue)}, ${share(house, isBlue)}`)
})

test('neon darkens the picture the more, the further its slider goes, and not at 0', async () => {
  await cardOf(page, 'neon').click()
  assert.match(await promptOf(page).inputValue(), /<lora:neon:1>/)
  const slider = page.getByRole('slider', { name: 'Multiplier of neon, slider' })
  const dark = [share(await made(), isDark)]
  for (const multiplier of [0.75, 0]) {
    await slider.fill(String(multiplier))
    const pixels = await made()
    dark.unshift(share(pixels, isDark))
    if (multiplier === 0) assert.equal(differences(pixels, house), 0)
  }
  assert.ok(dark[0] < dark[1] && dark[1] + 0.1 < dark[2], `shares of dark pixels at 0, 0.75, 1: ${dark}`)
})

test('the card of a subject brings its trigger words', async () => {
  await promptOf(page).fill('at night')
  await cardOf(page, 'robot').click()
  assert.match(await promptOf(page).inputValue(), /<lora:robot:1>.*sks robot/)
  await promptOf(page).fill('a sks robot at night')
  const without = await made()
  await promptOf(page).fill('a sks robot at night <lora:robot>')
  assert.ok(differences(await made(), without) > without.length / 3)
})

test('the card of an embedding brings its word', async () => {
  await promptOf(page).fill('a ')
  await page.getByRole('tab', { name: 'Embeddings' }).click()
  await cardOf(page, 'skyfruit').click()
  assert.match(await promptOf(page).inputValue(), /skyfruit/)
  await promptOf(page).fill('a picture of a skyfruit by the sea')
  assert.match((await generate(page, server)).infotext, /TI hashes: "skyfruit/)
  await page.getByRole('tab', { name: 'Lora' }).click()
})

test('a reload in the middle of a picture loses neither it nor the prompt', async () => {
  await page.getByRole('spinbutton', { name: 'Steps', exact: true }).fill('1000')
  await generateButton(page).click()
  await page.getByRole('progressbar').first().waitFor()
  await page.reload()
  await page.getByRole('button', { name: 'Cancel', exact: true }).click()
  await until('the end', async () => (await ask(server, '/jobs?limit=1')).jobs[0].state === 'cancelled')
  assert.equal(await promptOf(page).inputValue(), 'a picture of a skyfruit by the sea')
  await page.getByRole('spinbutton', { name: 'Steps', exact: true }).fill('12')
})

test('inpainting turns the red house blue, where the brush was', async () => {
  await promptOf(page).fill('a red house in a meadow')
  const before = await made()
  await page.getByRole('group', { name: 'Send the picture to' }).getByRole('button', { name: 'Inpaint' }).click()
  await promptOf(page).fill('a blue house in a meadow')
  const start = page.getByRole('region', { name: 'Start picture' })
  const canvas = start.locator('canvas')
  await canvas.scrollIntoViewIfNeeded()
  const { x, y, width, height } = await canvas.boundingBox()
  for (let row = 0.25; row <= 0.9; row += 0.05) {
    await page.mouse.move(x + width * 0.15, y + height * row)
    await page.mouse.down()
    await page.mouse.move(x + width * 0.85, y + height * row, { steps: 4 })
    await page.mouse.up()
  }
  await start.getByRole('spinbutton', { name: 'Mask blur (px)' }).fill('0')
  await page.getByRole('spinbutton', { name: /^Denoising strength/ }).fill('1')
  const after = await made()
  const upper = kSide * 3 * 6
  assert.deepEqual(after.slice(0, upper), before.slice(0, upper))
  assert.ok(share(after, isRed) < share(before, isRed) / 2, `red: ${share(before, isRed)}, then ${share(after, isRed)}`)
  await page.getByRole('tab', { name: 'txt2img' }).click()
})

test('pictures become a LoRA of the demo model, and it changes its picture', async () => {
  const files = []
  for (const { url } of (await ask(server, '/pictures?limit=3')).items)
    files.push({ name: `${files.length}.png`, mimeType: 'image/png', buffer: Buffer.from(await (await fetch(server.url + url)).arrayBuffer()) })
  await open(page, 'Train')
  await page.getByRole('textbox', { name: 'Name of the new data set' }).fill('houses')
  await page.getByLabel('Pictures for it (captions as .txt files too)').setInputFiles(files)
  await page.getByRole('textbox', { name: 'Caption of 0.png' }).waitFor()
  await page.getByRole('button', { name: 'Quick try' }).click()
  await page.getByRole('textbox', { name: 'Name of the LoRA' }).fill('my-houses')
  await page.getByRole('textbox', { name: 'Trigger word' }).fill('hss')
  await page.getByRole('spinbutton', { name: 'Steps (0: from epochs)', exact: true }).fill('8')
  await page.getByRole('button', { name: 'Start training' }).click()
  await page.getByRole('button', { name: 'Try it' }).click()
  assert.match(await promptOf(page).inputValue(), /<lora:my-houses:1>.*hss/)
  const withIt = await made()
  await page.getByRole('slider', { name: 'Multiplier of my-houses, slider' }).fill('0')
  assert.ok(differences(await made(), withIt) > 0)
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
