// The pictures that were made, newest first, as the outputs folder has them.
import * as api from '../api'
import type { Job, MadePicture } from '../types'
import { complain } from './app.svelte'
import { form } from './form.svelte'

const kPage = 48

export const recent = $state({ pictures: [] as MadePicture[], total: 0, shown: '' }) // shown: id of the one in the large view

export async function loadRecent(more = false): Promise<void> {
  try {
    const page = await api.pictures(more ? recent.pictures.length : 0, kPage)
    const known = new Set(more ? recent.pictures.map((picture) => picture.id) : [])
    recent.pictures = [...(more ? recent.pictures : []), ...page.items.filter((picture) => !known.has(picture.id))]
    recent.total = page.total
  } catch (error) {
    complain(error)
  }
}

// A finished job's pictures come to the front, and the first of them into the large view.
export function showResult(job: Job): void {
  const made = job.result?.pictures ?? []
  if (!made.length || (job.kind !== 'generate' && job.kind !== 'plot')) return
  const ids = new Set(made.map((picture) => picture.id))
  recent.pictures = [...made, ...recent.pictures.filter((picture) => !ids.has(picture.id))]
  recent.total = Math.max(recent.total + made.length, recent.pictures.length)
  recent.shown = made[0].id
  if (job.kind === 'generate' && typeof made[0].seed === 'number') form.lastSeed = made[0].seed
}

export async function deletePicture(picture: MadePicture): Promise<void> {
  try {
    await api.deletePicture(picture.id)
    recent.pictures = recent.pictures.filter((other) => other.id !== picture.id)
    --recent.total
  } catch (error) {
    complain(error)
  }
}
