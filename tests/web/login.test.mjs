// A server that wants a token.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { chooseSmall, generateButton, openWindow, promptOf, startServer } from './harness.mjs'

const kToken = 'grey-parrot'
let server, page, errors, close
before(async () => {
  server = await startServer({ args: ['--listen', '0.0.0.0', '--token', kToken] })
  ;({ page, errors, close } = await openWindow(server))
})
after(async () => {
  await close?.()
  await server?.stop()
})
const dialog = () => page.getByRole('dialog', { name: 'This server wants a token' })
const networks = () => page.getByRole('region', { name: 'Extra networks' })
const send = async (token) => {
  await dialog().getByLabel(/^Token/).fill(token)
  await dialog().getByRole('button', { name: 'Log in' }).click()
}

test('the page asks for the token before it shows anything', async () => {
  await dialog().waitFor()
  assert.equal(await networks().count(), 0)
  assert.ok(await dialog().getByRole('button', { name: 'Log in' }).isDisabled())
})

test('who closes the dialog is told what is missing, and may try again', async () => {
  await page.keyboard.press('Escape')
  await page.getByRole('alert').getByText('The server wants a token.').waitFor()
  await page.getByRole('button', { name: 'Try again' }).click()
  await dialog().waitFor()
})

test('a wrong token is told in the dialog, which stays', async () => {
  await send('grey-heron')
  await dialog().getByRole('alert').getByText(/token/i).first().waitFor()
  assert.equal(await networks().count(), 0)
})

test('the right one opens the page, with pictures and events', async () => {
  await send(kToken)
  await networks().getByRole('button', { name: 'tiny-style', exact: true }).waitFor()
  assert.equal(await dialog().count(), 0)
  await chooseSmall(page)
  await promptOf(page).fill('a house')
  await generateButton(page).click()
  await page.getByRole('button', { name: 'Open the picture' }).waitFor()
  await page.waitForFunction(() => document.querySelector('.picture img')?.naturalWidth === 64)
})

test('a reload asks nothing, and another tab of the same browser neither', async () => {
  await page.reload()
  await networks().getByRole('button', { name: 'tiny-style', exact: true }).waitFor()
  await page.waitForFunction(() => document.querySelector('.picture img')?.naturalWidth === 64)
  assert.equal(await dialog().count(), 0)
  const other = await page.context().newPage()
  await other.goto(server.url)
  await other.getByRole('button', { name: 'tiny-style', exact: true }).waitFor()
  assert.equal(await other.getByRole('dialog').count(), 0)
  await other.close()
})

test('nothing failed in the page meanwhile', () => assert.deepEqual(errors, []))
