// What the tests of the page share: the real server with tiny models in folders of its own, and Chromium.
// LORIKEET_BUILD: the build folder.
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, cpSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const build = path.resolve(process.env.LORIKEET_BUILD ?? 'build')
export const kWait_ms = 120_000 // no test is of time; this only ends what hangs

export const program = (name, ...args) => {
  const run = spawnSync(path.join(build, name), args, { encoding: 'utf8' })
  if (run.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${run.stderr}`)
  return run.stdout
}

// A safetensors file whose numbers are a hole in it: all 0.
export function writeSparse(file, keys) {
  let at = 0
  const header = {}
  for (const [key, shape] of Object.entries(keys)) {
    const size = shape.reduce((product, side) => product * side, 2)
    header[key] = { dtype: 'F16', shape, data_offsets: [at, at + size] }
    at += size
  }
  const start = headerOf(header)
  const handle = openSync(file, 'w')
  writeSync(handle, start)
  ftruncateSync(handle, start.length + at)
  closeSync(handle)
}

function headerOf(entries) {
  const text = Buffer.from(JSON.stringify(entries))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([size, text])
}

// One of f32 numbers: {name: {shape, numbers}}.
export function writeTensors(file, tensors) {
  const header = {}
  const parts = []
  let at = 0
  for (const [name, { shape, numbers }] of Object.entries(tensors)) {
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + numbers.byteLength] }
    parts.push(Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength))
    at += numbers.byteLength
  }
  writeFileSync(file, Buffer.concat([headerOf(header), ...parts]))
}

export function shapeIn(file, name) {
  const bytes = readFileSync(file)
  return JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString())[name].shape
}

const kModule = 'lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k'
export const moduleOf = (context) => ({ [`${kModule}.lora_down.weight`]: [4, context], [`${kModule}.lora_up.weight`]: [640, 4] })

// LoRAs of one module in loras/many: card-00000, card-00001, …
export function writeMany(models, count) {
  const folder = path.join(models, 'loras', 'many')
  mkdirSync(folder, { recursive: true })
  for (let i = 0; i < count; ++i) writeSparse(path.join(folder, `card-${String(i).padStart(5, '0')}.safetensors`), moduleOf(768))
}

// `demo`: with the demo model and its LoRAs, not the tiny one of random weights. `prepare(folder)` may put more into the folder of models
// before the server starts.
export async function startServer({ demo = false, prepare = () => {}, args = [] } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'lorikeet-web-'))
  const models = path.join(folder, 'models')
  if (demo) cpSync(fileURLToPath(new URL('../../models', import.meta.url)), models, { recursive: true })
  else program('tiny_model', models)
  await prepare(models)
  const server = spawn(
    path.join(build, 'lorikeet'),
    ['serve', '--port', '0', '--models', models, '--outputs', path.join(folder, 'outputs'), '--data', path.join(folder, 'data'), '--threads', '1', ...args],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let said = ''
  server.stderr.on('data', (text) => (said += text))
  const ended = new Promise((resolve) => server.once('exit', resolve))
  const url = await new Promise((resolve, reject) => {
    let text = ''
    server.stdout.on('data', (piece) => {
      text += piece
      const found = /http:\/\/\S+/.exec(text)
      if (found) resolve(found[0].replace(/\/$/, '').replace('0.0.0.0', '127.0.0.1'))
    })
    ended.then((code) => reject(new Error(`the server ended with ${code}: ${said}`)))
  })
  const stop = async () => {
    server.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  return { url, models, folder, stop }
}

// A browser without any past. `errors`: what the page said went wrong; a test that expects none checks that it is empty.
export async function openPage(server, options = {}) {
  const opened = await openWindow(server, options)
  await opened.page.getByRole('region', { name: 'Extra networks' }).waitFor()
  return opened
}

// The same, with whatever the page shows first.
export async function openWindow(server, options = {}) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
  const context = await browser.newContext({ viewport: { width: 1366, height: 900 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(kWait_ms)
  const errors = []
  page.on('pageerror', (error) => errors.push(error.message))
  await page.goto(server.url)
  return { page, errors, close: () => browser.close() }
}

export const promptOf = (page) => page.getByRole('textbox', { name: 'Prompt', exact: true })
export const generateButton = (page) => page.getByRole('button', { name: /^Generate/ })
export const cardOf = (page, name) => page.getByRole('region', { name: 'Extra networks' }).getByRole('button', { name, exact: true })
export const open = (page, view) => page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: view }).click()

// Small, so that it is quick on any machine.
export async function chooseSmall(page, steps = 3) {
  for (const [name, value] of [['Width', 64], ['Height', 64], ['Steps', steps], ['Seed', 7]])
    await page.getByRole('spinbutton', { name, exact: true }).first().fill(String(value))
}

export async function ask(server, route) {
  const answer = await fetch(server.url + '/api/v1' + route)
  return answer.json()
}

export async function until(what, isSo) {
  const end = Date.now() + kWait_ms
  for (;;) {
    const found = await isSo()
    if (found) return found
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
}

// Presses Generate and waits for the picture: the newest of the outputs folder.
export async function generate(page, server) {
  const before = (await ask(server, '/pictures?limit=1')).total
  await generateButton(page).click()
  const made = await until('a picture', async () => {
    const { total, items } = await ask(server, '/pictures?limit=1')
    return total > before && items[0]
  })
  await until('the picture on the page', () => page.evaluate((url) => [...document.images].some((image) => image.getAttribute('src') === url), made.url))
  return made
}

// The colours of a picture, 0..255, row by row, RGB.
export function pixelsOf(page, url) {
  return page.evaluate(async (address) => {
    const image = new Image() // not fetch(): the page's policy lets it read its own server only
    image.src = address
    await image.decode()
    const [width, height] = [image.naturalWidth, image.naturalHeight]
    const context = new OffscreenCanvas(width, height).getContext('2d')
    context.drawImage(image, 0, 0)
    return [...context.getImageData(0, 0, width, height).data].filter((_, i) => i % 4 !== 3)
  }, url)
}

export const differences = (a, b) => a.filter((value, i) => value !== b[i]).length

// A picture of two colours as a PNG, made by the browser.
export async function drawnPicture(page, colour, size = 64) {
  const base64 = await page.evaluate(async ([fill, side]) => {
    const canvas = new OffscreenCanvas(side, side)
    const context = canvas.getContext('2d')
    context.fillStyle = fill
    context.fillRect(0, 0, side, side)
    context.fillStyle = '#fff'
    context.fillRect(side / 4, side / 4, side / 2, side / 2)
    const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/png' })).arrayBuffer())
    return btoa(String.fromCharCode(...bytes))
  }, [colour, size])
  return Buffer.from(base64, 'base64')
}
