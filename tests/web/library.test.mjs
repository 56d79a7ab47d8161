// 10,000 cards, what does not fit, what people edit, and the workshop.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { ask, cardOf, moduleOf, open, openPage, promptOf, startServer, until, writeMany, writeSparse } from './harness.mjs'

const kCards = 10_000

let server, page, errors, close
before(async () => {
  server = await startServer({
    prepare: (models) => {
      writeMany(models, kCards)
      writeSparse(path.join(models, 'loras', 'for-sdxl.safetensors'), {
        ...moduleOf(2048),
        'lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight': [4, 1280],
        'lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight': [5120, 4],
      })
    },
  })
  await until('the scan', async () => (await ask(server, '/library/loras?limit=1')).total === kCards + 2)
  ;({ page, errors, close } = await openPage(server))
})
after(async () => {
  await close?.()
  await server?.stop()
})
const networks = () => page.getByRole('region', { name: 'Extra networks' })
const search = () => networks().getByRole('searchbox', { name: 'Search LoRAs' })

test('of 10,000 cards only a few exist in the page, also far down', async () => {
  await networks().getByText('10,002 files').waitFor()
  assert.ok((await networks().getByRole('listitem').count()) < 120)
  await networks().locator('.scroll').evaluate((list) => (list.scrollTop = list.scrollHeight))
  await networks().getByRole('button', { name: 'tiny-style', exact: true }).waitFor()
  assert.ok((await networks().getByRole('listitem').count()) < 120)
})

test('another order is shown also where one has scrolled to', async () => {
  await networks().getByRole('combobox', { name: 'Sort by' }).selectOption('size desc')
  await networks().getByRole('button', { name: 'tiny-style', exact: true }).waitFor({ state: 'detached' })
  await until('cards', async () => (await networks().getByRole('listitem').getByRole('button', { name: /^card-/ }).count()) > 3)
  await networks().getByRole('combobox', { name: 'Sort by' }).selectOption('name asc')
  await networks().getByRole('button', { name: 'tiny-style', exact: true }).waitFor()
})

test('a search finds one of them', async () => {
  await search().fill('card-07777')
  await networks().getByText('1 file', { exact: true }).waitFor()
  await cardOf(page, 'card-07777').click()
  assert.match(await promptOf(page).inputValue(), /<lora:many\/card-07777:1>/)
  await cardOf(page, 'card-07777').click()
  await search().fill('no such card')
  await networks().getByText('No LoRAs match.').waitFor()
  await search().fill('')
})

test('a folder narrows the list', async () => {
  await networks().getByRole('combobox', { name: 'Folder' }).selectOption('many')
  await networks().getByText('10,000 files').waitFor()
  await networks().getByRole('combobox', { name: 'Folder' }).selectOption('')
})

test('a card that does not fit the checkpoint says so, with the reason', async () => {
  await search().fill('for-sdxl')
  await networks().getByRole('button', { name: /for-sdxl, does not fit: made for SDXL/ }).waitFor()
  await search().fill('')
})

test('what people edit is saved beside the file and acts on the next click', async () => {
  await open(page, 'Library')
  const library = page.getByRole('region', { name: 'Library' })
  await library.getByRole('searchbox').fill('tiny-style')
  await library.getByRole('button', { name: 'tiny-style', exact: true }).click()
  const details = page.getByRole('region', { name: 'Details' })
  await details.getByRole('textbox', { name: 'Trigger words, parted by commas' }).fill('tiny style, noise')
  await details.getByRole('spinbutton', { name: 'Preferred multiplier' }).fill('0.7')
  await details.getByRole('button', { name: 'Save', exact: true }).click()
  const sidecar = path.join(server.models, 'loras', 'tiny-style.json')
  const saved = await until('the sidecar', () => {
    try {
      return JSON.parse(readFileSync(sidecar, 'utf8'))
    } catch {
      return null
    }
  })
  assert.equal(saved['activation text'], 'tiny style, noise')
  assert.equal(saved['preferred weight'], 0.7)
  await page.getByText('Saved beside the file.').first().waitFor()
  await details.getByRole('button', { name: 'Use it' }).click()
  assert.match(await promptOf(page).inputValue(), /<lora:tiny-style:0\.7> tiny style, noise/)
})

test('the workshop looks into a file and draws its map', async () => {
  await open(page, 'Library')
  const details = page.getByRole('region', { name: 'Details' })
  await details.getByRole('tab', { name: 'Look into' }).click()
  await details.getByRole('button', { name: 'Look into' }).click()
  await details.getByRole('img', { name: 'Map of what changes where' }).waitFor()
})

test('the workshop resizes, and the new file is in the library', async () => {
  const details = page.getByRole('region', { name: 'Details' })
  await details.getByRole('tab', { name: 'Resize' }).click()
  await details.getByRole('spinbutton', { name: 'Rank', exact: true }).fill('2')
  await details.getByRole('button', { name: 'Resize' }).click()
  await details.getByRole('alert').getByText('What comes out needs a name.').waitFor()
  await details.getByRole('textbox', { name: 'Name of the new LoRA' }).fill('tiny-small')
  await details.getByRole('button', { name: 'Resize' }).click()
  await details.getByRole('button', { name: 'Show it' }).click()
  await details.getByRole('heading', { name: 'tiny-small' }).waitFor()
  assert.equal((await ask(server, '/library/loras/item?name=tiny-small')).rank, 2)
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
