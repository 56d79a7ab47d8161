// The workshop's tools and previews, from the Library.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, chooseSmall, differences, generate, open, openPage, pixelsOf, promptOf, startServer, until } from './harness.mjs'

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
const library = () => page.getByRole('region', { name: 'Library' })
const details = () => page.getByRole('region', { name: 'Details' })
const item = (kind, name) => ask(server, `/library/${kind}/item?name=${encodeURIComponent(name)}`)

async function openCard(name) {
  await open(page, 'Library')
  await library().getByRole('tab', { name: 'LoRAs' }).click()
  await library().getByRole('button', { name, exact: true }).click()
  await details().getByRole('heading', { name }).waitFor()
}
const openTool = (name) => details().getByRole('tab', { name, exact: true }).click()
const press = (name) => details().getByRole('button', { name, exact: true }).click()
const text = async (name, value) => {
  await details().getByRole('textbox', { name }).fill(value)
}
const pick = async (label, name) => {
  await details().getByRole('combobox', { name: label, exact: true }).fill(name)
  await page.keyboard.press('Tab')
}
const showMade = async (name) => {
  await details().getByText(name, { exact: true }).waitFor()
  await press('Show it')
  await details().getByRole('heading', { name }).waitFor()
}

test('a LoRA is converted to another spelling', async () => {
  await openCard('tiny-style')
  await openTool('Convert')
  await details().getByRole('combobox', { name: 'To', exact: true }).selectOption('peft')
  await text('Name of the new LoRA', 'tiny-peft')
  await press('Convert')
  await showMade('tiny-peft')
  const [made, before] = [await item('loras', 'tiny-peft'), await item('loras', 'tiny-style')]
  assert.equal(made.modules, before.modules)
  assert.notEqual(made.sha256 ?? made.size_bytes, before.sha256 ?? before.size_bytes)
})

test('two LoRAs are compared', async () => {
  await openCard('tiny-style')
  await openTool('Compare')
  await press('Compare')
  await details().getByRole('alert').first().waitFor() // the second one is missing
  await pick('LoRA 2', 'tiny-peft')
  await press('Compare')
  await details().locator('pre').waitFor()
  assert.match(await details().locator('pre').innerText(), /cosine 1\.0000 over 12 layers/)
  const rows = await details().getByRole('row').allInnerTexts()
  assert.ok(rows.length > 2 && rows.slice(1).every((row) => /1\.000/.test(row)), rows.join(' | '))
})

test('two LoRAs are mixed, each with its multiplier', async () => {
  await openTool('Mix')
  await details().getByRole('spinbutton', { name: 'Multiplier of LoRA 1' }).fill('0.75')
  await pick('LoRA 2', 'tiny-peft')
  await details().getByRole('spinbutton', { name: 'Multiplier of LoRA 2' }).fill('-0.25')
  await text('Name of the new LoRA', 'tiny-mixed')
  await press('Mix')
  await showMade('tiny-mixed')
  assert.equal((await item('loras', 'tiny-mixed')).modules, (await item('loras', 'tiny-style')).modules)
})

test('the mix is the same LoRA at 0.75 - 0.25', async () => {
  await open(page, 'Generate')
  const picture = async (prompt) => {
    await promptOf(page).fill(prompt)
    return pixelsOf(page, (await generate(page, server)).url)
  }
  const [mixed, half, none] = [await picture('a house <lora:tiny-mixed:1>'), await picture('a house <lora:tiny-style:0.5>'), await picture('a house')]
  const distance = (a, b) => a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length
  assert.ok(distance(mixed, half) < distance(mixed, none) / 10, `${distance(mixed, half)} and ${distance(mixed, none)}`)
})

test('a name that is taken is refused, in words', async () => {
  await openCard('tiny-style')
  await openTool('Convert')
  await text('Name of the new LoRA', 'tiny-peft')
  await press('Convert')
  await details().getByRole('alert').getByText(/tiny-peft/).first().waitFor()
})

test('a LoRA is baked into a checkpoint', async () => {
  await openTool('Bake')
  assert.equal(await details().getByRole('combobox', { name: 'Checkpoint', exact: true }).inputValue(), 'tiny')
  await press('Leave LoRA 2 out')
  await text('Name of the new checkpoint', 'tiny-baked')
  await press('Bake')
  await showMade('tiny-baked')
  assert.equal((await item('checkpoints', 'tiny-baked')).family, 'sd1')
  await press('Use it')
  await until('the checkpoint', async () => (await ask(server, '/status')).checkpoint.name === 'tiny-baked')
})

test('the difference of two checkpoints becomes a LoRA again', async () => {
  await openCard('tiny-style')
  await openTool('Extract')
  await pick('From this checkpoint', 'tiny')
  await pick('To this checkpoint', 'tiny-baked')
  await details().getByRole('spinbutton', { name: 'Rank', exact: true }).fill('4')
  await text('Name of the new LoRA', 'tiny-found')
  await press('Extract')
  await showMade('tiny-found')
  assert.equal((await item('loras', 'tiny-found')).rank, 4)
})

test('a preview is made with and without the LoRA, and stands on its card', async () => {
  await openCard('tiny-style')
  assert.equal((await item('loras', 'tiny-style')).has_preview, false)
  await text('Prompt for a preview', 'a house')
  await press('Make a preview')
  await details().getByRole('img', { name: 'Preview of tiny-style' }).waitFor()
  const sides = await until('the picture', () => details().getByRole('img', { name: 'Preview of tiny-style' }).evaluate((image) => image.naturalWidth && [image.naturalWidth, image.naturalHeight]))
  assert.ok(sides[0] > sides[1] * 1.5, sides.join('×'))
  await library().locator('.card', { hasText: 'tiny-style' }).locator('img').waitFor()
  const pixels = await pixelsOf(page, `/api/v1/library/loras/preview?name=tiny-style`)
  assert.ok(differences(pixels, pixels.map(() => pixels[0])) > pixels.length / 10)
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
