// Where a LoRA works: halves, a painted mask, and what the text says.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, chooseSmall, differences, generate, generateButton, openPage, pixelsOf, promptOf, startServer, until } from './harness.mjs'

let server, page, errors, close
const made = {}
before(async () => {
  server = await startServer()
  ;({ page, errors, close } = await openPage(server))
  await chooseSmall(page)
})
after(async () => {
  await close?.()
  await server?.stop()
})
const place = (at = page) => at.getByRole('combobox', { name: 'Where tiny-style works' })
const paintButton = (at = page) => at.getByRole('button', { name: 'Paint where tiny-style works' })
const dialog = (at = page) => at.getByRole('dialog', { name: 'Where tiny-style works' })
const picture = async () => pixelsOf(page, (await generate(page, server)).url)
const chosen = () => place().evaluate((select) => select.selectedOptions[0].label)
const areFar = (a, b) => assert.ok(differences(made[a], made[b]) > made[a].length / 20, `${a} and ${b}`)

test('a half is written into the tag and leaves the rest of it alone', async () => {
  await promptOf(page).fill('a house <lora:tiny-style:1:lbw=ALL:start=1>, dusk')
  assert.equal(await chosen(), 'the whole picture')
  await place().selectOption({ label: 'the left half' })
  assert.equal(await promptOf(page).inputValue(), 'a house <lora:tiny-style:1:lbw=ALL:start=1:x=0-0.5>, dusk')
  await place().focus()
  await page.keyboard.press('ArrowDown')
  assert.equal(await promptOf(page).inputValue(), 'a house <lora:tiny-style:1:lbw=ALL:start=1:x=0.5-1>, dusk')
  await place().selectOption({ label: 'the whole picture' })
  assert.equal(await promptOf(page).inputValue(), 'a house <lora:tiny-style:1:lbw=ALL:start=1>, dusk')
})

test('what is typed is shown, also what has no name', async () => {
  await promptOf(page).fill('a house <lora:tiny-style:1:y=0.5-1>')
  assert.equal(await chosen(), 'the bottom half')
  await promptOf(page).fill('a house <lora:tiny-style:1:x=0.2-0.4>')
  assert.equal(await chosen(), 'x=0.2-0.4')
  await promptOf(page).fill('a house <lora:tiny-style:1:mask=sky.png>')
  assert.equal(await chosen(), 'mask=sky.png')
})

test('a LoRA in a half makes another picture than everywhere and nowhere', async () => {
  await promptOf(page).fill('a house')
  made.without = await picture()
  await promptOf(page).fill('a house <lora:tiny-style:1>')
  made.whole = await picture()
  await place().selectOption({ label: 'the left half' })
  made.left = await picture()
  await place().selectOption({ label: 'the right half' })
  made.right = await picture()
  for (const one of ['without', 'whole']) for (const half of ['left', 'right']) areFar(one, half)
  areFar('left', 'right')
})

test('a mask must be painted before it is sent', async () => {
  await place().selectOption({ label: 'a painted mask' })
  assert.equal(await promptOf(page).inputValue(), 'a house <lora:tiny-style:1:mask=tiny-style>')
  await page.getByText('nothing painted yet').waitFor()
  const before = (await ask(server, '/jobs?limit=1')).jobs[0].id
  await generateButton(page).click()
  await page.getByRole('alert').getByText(/Nothing is painted yet for mask=tiny-style/).waitFor()
  assert.equal((await ask(server, '/jobs?limit=1')).jobs[0].id, before)
})

test('a mask that covers the right half is that half', async () => {
  await paintButton().click()
  const canvas = dialog().locator('canvas')
  await dialog().getByRole('slider', { name: 'Size of the brush' }).fill('200')
  const { x, y, width, height } = await canvas.boundingBox()
  const inside = await canvas.evaluate((surface) => 200 / (surface.getBoundingClientRect().width / surface.width)) // px of the picture
  assert.ok(inside > 4)
  // The brush is round: its edge goes along the middle.
  await page.mouse.move(x + width / 2 + 100, y + 1)
  await page.mouse.down()
  for (let share = 0; share <= 1; share += 0.125) await page.mouse.move(x + width / 2 + 100, y + height * share)
  for (let share = 1; share >= 0; share -= 0.125) await page.mouse.move(x + width - 1, y + height * share)
  await page.mouse.up()
  await dialog().getByRole('button', { name: 'Done' }).click()
  await dialog().waitFor({ state: 'detached' })
  await page.getByText('nothing painted yet').waitFor({ state: 'detached' })
  made.painted = await picture()
  areFar('painted', 'without')
  areFar('painted', 'left')
  const distance = (other) => made.painted.reduce((sum, value, i) => sum + Math.abs(value - made[other][i]), 0)
  for (const other of ['left', 'whole', 'without']) assert.ok(distance('right') < distance(other) / 2, `${distance('right')}, ${other}: ${distance(other)}`)
})

test('the painted mask is there after a reload, and after another choice', async () => {
  await page.reload()
  await until('the mask', async () => (await chosen()) === 'a painted mask')
  assert.equal(await page.getByText('nothing painted yet').count(), 0)
  assert.equal(differences(await picture(), made.painted), 0)
  await place().selectOption({ label: 'the top half' })
  await place().selectOption({ label: 'a painted mask' })
  assert.equal(await promptOf(page).inputValue(), 'a house <lora:tiny-style:1:mask=tiny-style>')
  assert.equal(differences(await picture(), made.painted), 0)
})

test('by keys: the brush moves, paints and undoes, Escape closes', async () => {
  await paintButton().focus()
  await page.keyboard.press('Enter')
  await dialog().getByRole('button', { name: 'Clear' }).click()
  const area = dialog().getByRole('application', { name: /^Mask: paint over where the LoRA works/ })
  const coloured = () => area.locator('canvas').evaluate((surface) => {
    const { data } = surface.getContext('2d').getImageData(0, 0, surface.width, surface.height)
    let [sum, count] = [0, 0]
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) [sum, count] = [sum + ((i - 3) / 4) % surface.width, count + 1]
    return { count, across: sum / count }
  })
  await area.focus()
  await page.keyboard.press('Space')
  const first = await coloured()
  assert.ok(first.count > 0 && Math.abs(first.across - 32) < 2, JSON.stringify(first))
  for (let i = 0; i < 4; ++i) await page.keyboard.press('Shift+ArrowRight')
  await page.keyboard.press('Space')
  assert.ok((await coloured()).across > first.across + 1)
  await page.keyboard.press('Control+z')
  assert.deepEqual(await coloured(), first)
  await page.keyboard.press('Escape')
  await dialog().waitFor({ state: 'detached' })
})

test('two tags of one LoRA have masks of their own', async () => {
  await promptOf(page).fill('<lora:tiny-style:1:mask=tiny-style> <lora:tiny-style:0.5>')
  await place().nth(1).selectOption({ label: 'a painted mask' })
  assert.equal(await promptOf(page).inputValue(), '<lora:tiny-style:1:mask=tiny-style> <lora:tiny-style:0.5:mask=tiny-style-2>')
})

test('on a phone a mask is painted with a finger', async () => {
  const phone = await openPage(server, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
  try {
    await promptOf(phone.page).fill('a house <lora:tiny-style:1>')
    await place(phone.page).selectOption({ label: 'a painted mask' })
    await paintButton(phone.page).tap()
    const box = await dialog(phone.page).locator('canvas').boundingBox()
    assert.ok(box.x >= 0 && box.x + box.width <= 390, JSON.stringify(box))
    await phone.page.touchscreen.tap(box.x + box.width / 2, box.y + box.height / 2)
    await until('a dab', () => dialog(phone.page).getByRole('button', { name: 'Undo' }).isEnabled())
    await dialog(phone.page).getByRole('button', { name: 'Done' }).tap()
    await dialog(phone.page).waitFor({ state: 'detached' })
    assert.equal(await phone.page.getByText('nothing painted yet').count(), 0)
    assert.ok((await phone.page.evaluate(() => document.documentElement.scrollWidth)) <= 390)
    assert.deepEqual(phone.errors, [])
  } finally {
    await phone.close()
  }
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
