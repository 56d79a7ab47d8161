// The tabs of extra networks beside LoRAs: a click on an embedding, on a checkpoint.
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { ask, cardOf, chooseSmall, differences, generate, openPage, pixelsOf, promptOf, shapeIn, startServer, until, writeTensors } from './harness.mjs'

const kEmbedding = 'emb_params'
const kTokens = 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight'
let server, page, errors, close
before(async () => {
  server = await startServer({
    prepare: (models) => {
      const tiny = path.join(models, 'checkpoints', 'tiny.safetensors')
      const [, width] = shapeIn(tiny, kTokens)
      copyFileSync(tiny, path.join(models, 'checkpoints', 'second.safetensors'))
      mkdirSync(path.join(models, 'embeddings'), { recursive: true })
      const numbers = Float32Array.from({ length: 2 * width }, (_, i) => Math.sin(i * i))
      writeTensors(path.join(models, 'embeddings', 'tiny-word.safetensors'), { [kEmbedding]: { shape: [2, width], numbers } })
    },
  })
  await until('the scan', async () => (await ask(server, '/library/embeddings?limit=1')).total === 1)
  ;({ page, errors, close } = await openPage(server))
  await chooseSmall(page)
})
after(async () => {
  await close?.()
  await server?.stop()
})
const networks = () => page.getByRole('region', { name: 'Extra networks' })
const tab = (name) => networks().getByRole('tab', { name }).click()
const isPressed = (name) => cardOf(page, name).getAttribute('aria-pressed')

test('a click on an embedding puts its word into the prompt, a second one takes it out', async () => {
  await promptOf(page).fill('a house')
  await tab('Embeddings')
  await cardOf(page, 'tiny-word').click()
  assert.equal(await promptOf(page).inputValue(), 'a house, tiny-word')
  assert.equal(await isPressed('tiny-word'), 'true')
  await cardOf(page, 'tiny-word').click()
  assert.equal(await promptOf(page).inputValue(), 'a house')
  assert.equal(await isPressed('tiny-word'), 'false')
})

test('an embedding in the negative prompt counts as in use, and a click takes it out there', async () => {
  const negative = page.getByRole('textbox', { name: 'Negative prompt' })
  await negative.fill('blurry, tiny-word')
  await until('the mark', async () => (await isPressed('tiny-word')) === 'true')
  await cardOf(page, 'tiny-word').click()
  assert.equal(await negative.inputValue(), 'blurry')
  await negative.fill('')
})

test('the word is the embedding: the picture and its text say so', async () => {
  const plain = await pixelsOf(page, (await generate(page, server)).url)
  await cardOf(page, 'tiny-word').click()
  const made = await generate(page, server)
  assert.ok(differences(plain, await pixelsOf(page, made.url)) > 0)
  assert.match(made.infotext, /TI hashes: "?tiny-word: [0-9a-f]+/)
  await cardOf(page, 'tiny-word').click()
})

test('a click on a checkpoint makes the next pictures with it', async () => {
  await tab('Checkpoints')
  await cardOf(page, 'second').waitFor()
  const [now, other] = (await isPressed('tiny')) === 'true' ? ['tiny', 'second'] : ['second', 'tiny']
  assert.equal((await ask(server, '/status')).checkpoint.name, now)
  await cardOf(page, other).click()
  await page.getByText(`The next pictures are made with ${other}.`).waitFor()
  await until('the mark', async () => (await isPressed(other)) === 'true' && (await isPressed(now)) === 'false')
  assert.equal((await ask(server, '/status')).checkpoint.name, other)
  const made = await generate(page, server)
  assert.match(made.infotext, new RegExp(`Model: ${other}\\b`))
})

test('the checkpoint is also chosen at the top', async () => {
  const select = page.getByRole('banner').getByRole('combobox')
  const now = (await ask(server, '/status')).checkpoint.name
  const other = now === 'tiny' ? 'second' : 'tiny'
  await select.selectOption(other)
  await until('the change', async () => (await ask(server, '/status')).checkpoint.name === other)
  await until('the mark', async () => (await isPressed(other)) === 'true')
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
