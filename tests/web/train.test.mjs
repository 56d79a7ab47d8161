// Pictures -> captions -> a run -> its LoRA in the prompt.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, chooseSmall, drawnPicture, generate, open, openPage, promptOf, startServer, until } from './harness.mjs'

let server, page, errors, close
before(async () => {
  server = await startServer()
  ;({ page, errors, close } = await openPage(server))
  await chooseSmall(page)
  await open(page, 'Train')
})
after(async () => {
  await close?.()
  await server?.stop()
})
const number = (name) => page.getByRole('spinbutton', { name, exact: true })
const lastJob = async () => (await ask(server, '/jobs?kind=train')).jobs[0]

test('pictures are dropped into a new data set, with captions from text files', async () => {
  const files = []
  for (const [name, colour] of [['red', '#c22'], ['blue', '#22c']]) files.push({ name: `${name}.png`, mimeType: 'image/png', buffer: await drawnPicture(page, colour) })
  files.push({ name: 'red.txt', mimeType: 'text/plain', buffer: Buffer.from('a red square') })
  await page.getByRole('textbox', { name: 'Name of the new data set' }).fill('squares')
  await page.getByLabel('Pictures for it (captions as .txt files too)').setInputFiles(files)
  await page.getByRole('textbox', { name: 'Caption of blue.png' }).waitFor()
  assert.equal(await page.getByRole('textbox', { name: 'Caption of red.png' }).inputValue(), 'a red square')
})

test('captions are edited one by one and all together', async () => {
  await page.getByRole('textbox', { name: 'Caption of blue.png' }).fill('a blue square')
  await page.getByRole('textbox', { name: 'Words for all captions' }).fill('flat')
  await page.getByRole('button', { name: 'Put behind' }).click()
  await until('the captions', async () => {
    const { pictures } = await ask(server, '/datasets/item?name=squares')
    return JSON.stringify(pictures.map(({ caption }) => caption).sort()) === JSON.stringify(['a blue square, flat', 'a red square, flat'])
  })
})

test('a training runs, with its curve, and can be tried', async () => {
  await page.getByRole('button', { name: 'Quick try' }).click()
  await page.getByRole('textbox', { name: 'Name of the LoRA' }).fill('squares-lora')
  await page.getByRole('textbox', { name: 'Trigger word' }).fill('sqr')
  for (const [name, value] of [['Steps (0: from epochs)', 6], ['Width (0: as the checkpoint)', 64], ['Height (0: as the checkpoint)', 64]]) await number(name).fill(String(value))
  await page.getByText('All settings').click()
  await page.getByText('Pictures', { exact: true }).first().click()
  await page.getByRole('checkbox', { name: 'Buckets' }).uncheck()
  await page.getByRole('button', { name: 'Start training' }).click()
  await page.getByRole('button', { name: 'Try it' }).click()
  assert.match(await promptOf(page).inputValue(), /<lora:squares-lora:1>.*sqr/)
  const made = await generate(page, server)
  assert.match(made.infotext, /squares-lora/)
  await open(page, 'Train')
  await page.getByRole('img', { name: /^Loss over \d+ measurements/ }).waitFor()
})

test('a run is paused, goes on, and is cancelled', async () => {
  await page.getByRole('textbox', { name: 'Name of the LoRA' }).fill('long')
  await number('Steps (0: from epochs)').fill('100000')
  await page.getByRole('button', { name: 'Start training' }).click()
  const run = page.getByRole('region', { name: 'Training run' }).first()
  await until('the first step', async () => (await lastJob()).step > 0)
  await run.getByRole('button', { name: 'Pause' }).click()
  await until('the pause', async () => (await lastJob()).state === 'paused')
  await run.getByRole('button', { name: 'Resume' }).click()
  await until('the run', async () => (await lastJob()).state === 'running')
  await run.getByRole('button', { name: 'Cancel' }).click()
  await until('the end', async () => (await lastJob()).state === 'cancelled')
})

test('what cannot be trained is said before it begins', async () => {
  await number('Width (0: as the checkpoint)').fill('65')
  await page.getByRole('button', { name: 'Start training' }).click()
  await page.getByRole('alert').first().waitFor()
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
