// The queue as this page knows it, kept up to date by the server's events.
import * as api from '../api'
import type { Job, JobId, JobKind, Values } from '../types'
import { app, complain } from './app.svelte'

export const queue = $state({ jobs: [] as Job[] })

export const isOpen = (job: Job) => job.state === 'waiting' || job.state === 'running' || job.state === 'paused'

export function findJob(id: JobId | null | undefined): Job | undefined {
  return queue.jobs.find((job) => job.id === id)
}

export function runningOf(...kinds: JobKind[]): Job | undefined {
  return queue.jobs.find((job) => job.state === 'running' && kinds.includes(job.kind)) ??
    [...queue.jobs].reverse().find((job) => isOpen(job) && kinds.includes(job.kind))
}

// Events leave out what does not change; that is kept from before.
function takeIn(news: Job): Job {
  const index = queue.jobs.findIndex((job) => job.id === news.id)
  if (index < 0) {
    queue.jobs.unshift(news)
    return queue.jobs[0]
  }
  const old = queue.jobs[index]
  queue.jobs[index] = { ...news, request: news.request ?? old.request, result: news.result ?? old.result }
  return queue.jobs[index]
}

async function onJob(news: Job): Promise<void> {
  const before = findJob(news.id)
  takeIn(news)
  if (isOpen(news) || (before && !isOpen(before))) return
  try {
    const whole = takeIn(await api.job(news.id))
    finishedListeners.forEach((act) => act(whole))
  } catch (error) {
    complain(error)
  }
}

const finishedListeners = new Set<(job: Job) => void>()
export function onFinished(act: (job: Job) => void): () => void {
  finishedListeners.add(act)
  return () => finishedListeners.delete(act)
}

export async function start(kind: JobKind, request: Values, title?: string): Promise<JobId> {
  const { id } = await api.startJob(kind, request, title)
  await refresh(id)
  return id
}

export async function refresh(id: JobId): Promise<void> {
  await onJob(await api.job(id))
}

export async function loadJobs(): Promise<void> {
  const known = queue.jobs.filter(isOpen)
  queue.jobs = await api.jobs()
  // What ended while nothing was heard is told now.
  for (const old of known) {
    const now = findJob(old.id)
    if (now && !isOpen(now)) finishedListeners.forEach((act) => act(now))
  }
}

export async function act(id: JobId, action: 'cancel' | 'skip' | 'pause' | 'resume'): Promise<void> {
  try {
    await api.jobAction(id, action)
    await refresh(id)
  } catch (error) {
    complain(error)
  }
}

export function followEvents(): () => void {
  let lost = false
  return api.listen({
    job: (job) => void onJob(job),
    status: (status) => (app.status = status),
    library: (version) => (app.libraryVersion = version),
    connected: (yes) => {
      app.connected = yes
      if (yes && lost) loadJobs().catch(complain)
      lost = !yes
    },
  })
}
