// Data sets: pictures with captions on the server.
import * as api from '../api'
import type { DatasetPicture } from '../types'
import { asError } from '../state/app.svelte'
import { training } from './config.svelte'

export const data = $state({
  sets: [] as { name: string; pictures: number }[],
  pictures: [] as DatasetPicture[],
  sending: 0, // pictures under way
  error: null as { message: string; hint?: string } | null,
})

// Runs what may fail; its error is shown with the data set.
export async function attempt(work: () => Promise<void>): Promise<void> {
  data.error = null
  try {
    await work()
  } catch (problem) {
    data.error = asError(problem)
  }
}

export const loadSets = () =>
  attempt(async () => {
    data.sets = await api.datasets()
    if (!data.sets.some(({ name }) => name === training.dataset)) training.dataset = data.sets[0]?.name ?? ''
  })

export const loadPictures = () =>
  attempt(async () => {
    data.pictures = training.dataset && data.sets.some(({ name }) => name === training.dataset) ? (await api.dataset(training.dataset)).pictures : []
  })

const stem = (file: string) => file.replace(/\.[^.]+$/, '')
const kAtOnce = 4

// Texts among the files are captions of the pictures of the same name.
export const addFiles = (name: string, files: File[]) =>
  attempt(async () => {
    const captions = new Map<string, string>()
    for (const file of files.filter((file) => !file.type.startsWith('image/'))) captions.set(stem(file.name), (await file.text()).trim())
    const pictures = files.filter((file) => file.type.startsWith('image/'))
    data.sending = pictures.length
    try {
      for (let i = 0; i < pictures.length; i += kAtOnce) {
        const some = pictures.slice(i, i + kAtOnce)
        const list = await Promise.all(some.map(async (file) => ({ file: file.name, image: await api.dataUri(file), caption: captions.get(stem(file.name)) })))
        await api.addPictures(name, list)
        data.sending -= some.length
      }
    } finally {
      data.sending = 0
      data.sets = await api.datasets()
      training.dataset = name
      data.pictures = (await api.dataset(name)).pictures
    }
  })

export const saveCaption = (picture: DatasetPicture, caption: string) =>
  attempt(async () => {
    await api.setCaption(training.dataset, picture.file, caption)
    picture.caption = caption
  })

// Text before or behind every caption that lacks it.
export const addToAll = (text: string, front: boolean) =>
  attempt(async () => {
    for (const picture of data.pictures) {
      const old = picture.caption.trim()
      if (old.includes(text)) continue
      const caption = !old ? text : front ? `${text}, ${old}` : `${old}, ${text}`
      await api.setCaption(training.dataset, picture.file, caption)
      picture.caption = caption
    }
  })

export const takeFromAll = (text: string) =>
  attempt(async () => {
    for (const picture of data.pictures.filter(({ caption }) => caption.includes(text))) {
      const caption = picture.caption.split(',').map((part) => part.trim()).filter((part) => part && part !== text).join(', ')
      await api.setCaption(training.dataset, picture.file, caption)
      picture.caption = caption
    }
  })

export const dropPicture = (picture: DatasetPicture) =>
  attempt(async () => {
    await api.removePicture(training.dataset, picture.file)
    data.pictures = data.pictures.filter((other) => other.file !== picture.file)
  })

export const dropSet = () =>
  attempt(async () => {
    await api.removeDataset(training.dataset)
    training.dataset = ''
    data.pictures = []
    await loadSets()
  })
