// The form of Generate: values of the schema's "generate" settings, the init picture and its mask. It survives a reload.
import type { Inserted } from '../lib/prompt'
import { insertLora, removeLora, tagOf } from '../lib/prompt'
import { isEmptyMask, maskPicture, type MaskStep } from '../lib/mask'
import type { Card, Field, Values } from '../types'
import { app } from './app.svelte'
import { keepLarge, kept, readLarge } from './kept.svelte'
import { masksFor, unpaintedIn } from './regions.svelte'

export type Mode = 'txt2img' | 'img2img' | 'inpaint'

export const form = kept('lorikeet.generate', {
  mode: 'txt2img' as Mode,
  values: { prompt: '', negative_prompt: '' } as Values,
  inserted: {} as Record<string, Inserted>, // by card: what its click put in
  lastSeed: -1,
})

export const canvas = $state({ init: '', width: 0, height: 0, steps: [] as MaskStep[] })
void readLarge<typeof canvas>('canvas').then((old) => {
  if (old && !canvas.init) Object.assign(canvas, old)
})

export function keepCanvas(): void {
  void keepLarge('canvas', $state.snapshot(canvas))
}

export async function setInit(picture: string): Promise<void> {
  const image = new Image()
  image.src = picture
  await image.decode()
  Object.assign(canvas, { init: picture, width: image.naturalWidth, height: image.naturalHeight, steps: [] })
  keepCanvas()
}

export function clearInit(): void {
  Object.assign(canvas, { init: '', width: 0, height: 0, steps: [] })
  keepCanvas()
}

export function fieldOf(name: string): Field | undefined {
  return app.schema?.generate.find((field) => field.name === name)
}

export function valueOf(name: string): unknown {
  return form.values[name] ?? fieldOf(name)?.default
}

export const textOf = (name: string) => String(valueOf(name) ?? '')
export const numberOf = (name: string) => Number(valueOf(name) ?? 0)

const kFallbackSide = 512 // px

// What the width or height will be: 0 leaves it to the checkpoint.
export const sideOf = (name: 'width' | 'height') => numberOf(name) || app.status?.checkpoint?.native_size_px || kFallbackSide

const kPictures = ['init_image', 'mask_image', 'region_masks']
const words = () => [textOf('prompt'), textOf('negative_prompt'), form.values.enable_hr ? textOf('hr_prompt') : ''].join('\n')

// What the server gets: what was set, without what this mode does not use.
export function requestOfForm(): Values {
  const request: Values = {}
  for (const field of app.schema?.generate ?? []) {
    const value = form.values[field.name]
    if (value === undefined || value === null || value === '' || kPictures.includes(field.name)) continue
    if (field.group === 'hires' && !form.values.enable_hr) continue
    if (field.group === 'image' && form.mode === 'txt2img' && !(field.name === 'denoising_strength' && form.values.enable_hr)) continue
    request[field.name] = $state.snapshot(value)
  }
  request.prompt = textOf('prompt')
  if (form.mode !== 'txt2img') {
    request.init_image = canvas.init
    delete request.enable_hr
  }
  if (form.mode === 'inpaint') request.mask_image = maskPicture($state.snapshot(canvas.steps) as MaskStep[], canvas.width, canvas.height)
  const masks = masksFor(words())
  if (masks.length) request.region_masks = masks
  return request
}

// What keeps the form from being sent; "" when nothing does.
export function missing(): string {
  if (form.mode !== 'txt2img' && !canvas.init) return 'Choose a picture to start from.'
  if (form.mode === 'inpaint' && isEmptyMask(canvas.steps)) return 'Paint over the part that is to change.'
  const unpainted = unpaintedIn(words())
  if (unpainted) return `Nothing is painted yet for mask=${unpainted}: use Paint under its slider.`
  return ''
}

// Takes the settings of a picture over. Pictures in it are left alone.
export function takeRequest(request: Values): void {
  for (const field of app.schema?.generate ?? []) {
    if (kPictures.includes(field.name)) continue
    const value = request[field.name]
    if (value === undefined) delete form.values[field.name]
    else form.values[field.name] = field.name === 'prompt' && Array.isArray(value) ? value.join('\n') : value
  }
  form.inserted = {}
}

export function isInserted(card: Card): boolean {
  return tagOf(textOf('prompt'), card) >= 0
}

export function toggleLora(card: Card): void {
  const prompts = { prompt: textOf('prompt'), negative: textOf('negative_prompt') }
  if (isInserted(card)) {
    const others = Object.entries(form.inserted).filter(([name]) => name !== card.name)
    const wanted = others.flatMap(([, one]) => [...one.words, one.negative])
    put(removeLora(prompts, card, $state.snapshot(form.inserted[card.name]), wanted))
    delete form.inserted[card.name]
    return
  }
  const { inserted, ...after } = insertLora(prompts, card)
  put(after)
  form.inserted[card.name] = inserted
}

function put({ prompt, negative }: { prompt: string; negative: string }): void {
  form.values.prompt = prompt
  form.values.negative_prompt = negative
}
