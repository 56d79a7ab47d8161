// The form of Train: settings of the schema's "train" part, kept over a reload.
import type { Preset } from '../lib/presets'
import type { Field, Values } from '../types'
import { app } from '../state/app.svelte'
import { kept } from '../state/kept.svelte'

export const training = kept('lorikeet.train', { values: {} as Values, preset: '', dataset: '' })

export const trainField = (name: string): Field | undefined => app.schema?.train.find((field) => field.name === name)
export const trainValue = (name: string): unknown => training.values[name] ?? trainField(name)?.default

// What the pictures and the file are stays; everything else is as the preset says, or as the defaults say.
const kStays = new Set(['model', 'vae', 'out', 'images', 'trigger', 'token', 'width', 'height', 'device', 'precision', 'threads', 'sample_prompts', 'title', 'author', 'comment'])

export function choosePreset(preset: Preset): void {
  const stays = Object.fromEntries(Object.entries(training.values).filter(([name]) => kStays.has(name)))
  training.values = { ...stays, ...preset.values }
  training.preset = preset.name
}

// Only what differs from the defaults: the server refuses settings that were changed but have no effect.
export function trainRequest(): Values {
  const request: Values = {}
  for (const field of app.schema?.train ?? []) {
    const value = $state.snapshot(training.values[field.name])
    if (value === undefined || value === null || value === '') continue
    if (JSON.stringify(value) !== JSON.stringify(field.default)) request[field.name] = value
  }
  request.images = training.dataset
  request.model ??= app.status?.checkpoint?.name ?? ''
  return request
}
