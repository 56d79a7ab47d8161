// All that the page says to the server: one function a route, and the stream of events.
import type {
  ApiErrorBody, Card, CardDetails, CardPage, DatasetPicture, Job, JobId, JobKind, Kind, MadePicture, PictureInfo, Schema, Status, Values,
} from './types'

const root = '/api/v1'
const tokenKey = 'lorikeet.token'

// What went wrong, with what would help.
export class ApiError extends Error {
  constructor(readonly status: number, readonly kind: string, message: string, readonly hint = '') {
    super(message)
  }
}

// Who is asked for the token when the server wants one; set by the page's shell.
export const session: { ask: () => Promise<void> } = { ask: () => Promise.reject(new ApiError(401, 'unauthorized', 'The server wants a token.')) }

type Query = Record<string, string | number | undefined>

function address(path: string, query: Query = {}): string {
  const parts = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  return root + path + (parts.length ? '?' + parts.map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join('&') : '')
}

async function failure(answer: Response): Promise<ApiError> {
  const body = (await answer.json().catch(() => null)) as ApiErrorBody | null
  if (body?.message) return new ApiError(answer.status, body.error, body.message, body.hint)
  return new ApiError(answer.status, 'internal', `The server answered ${answer.status} ${answer.statusText}.`)
}

async function call<T>(method: string, path: string, query?: Query, body?: unknown): Promise<T> {
  const headers: Record<string, string> = {}
  const token = sessionStorage.getItem(tokenKey)
  if (token) headers.Authorization = `Bearer ${token}`
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  let answer: Response
  try {
    answer = await fetch(address(path, query), { method, headers, body: body === undefined ? undefined : JSON.stringify(body) })
  } catch {
    throw new ApiError(0, 'io', 'The server does not answer.', 'Is lorikeet serve still running?')
  }
  if (answer.status === 401 && path !== '/login') {
    await session.ask()
    return call(method, path, query, body)
  }
  if (!answer.ok) throw await failure(answer)
  const text = await answer.text()
  return (text ? JSON.parse(text) : undefined) as T
}

const get = <T>(path: string, query?: Query) => call<T>('GET', path, query)
const post = <T>(path: string, body: unknown = {}, query?: Query) => call<T>('POST', path, query, body)
const remove = (path: string, query?: Query) => call<void>('DELETE', path, query)

// The cookie that login sets is for pictures and events, which carry no header.
export async function login(token: string): Promise<void> {
  await post('/login', { token })
  sessionStorage.setItem(tokenKey, token)
}

export const status = () => get<Status>('/status')
export const schema = () => get<Schema>('/schema')
export const chooseCheckpoint = (name: string) => post<Status>('/checkpoint', { name })

export interface CardQuery {
  query?: string
  folder?: string
  family?: string
  sort?: string
  order?: string
  offset?: number
  limit?: number
}
export const cards = (kind: Kind, query: CardQuery) => get<CardPage>(`/library/${kind}`, { ...query })
export const cardDetails = (kind: Kind, name: string) => get<CardDetails>(`/library/${kind}/item`, { name })
export const saveCard = (kind: Kind, name: string, changes: Partial<Card>) => post<Card>(`/library/${kind}/item`, changes, { name })
export const refreshLibrary = () => post<{ version: number }>('/library/refresh')
export const fits = (name: string, checkpoint: string) =>
  get<{ fits: boolean; matched: number; total: number; reason: string }>('/library/fits', { name, checkpoint })
export const previewUrl = (kind: Kind, card: Card, width = 256) =>
  address(`/library/${kind}/preview`, { name: card.name, v: card.preview_version, width })
export const setPreview = (kind: Kind, name: string, image: string) => post<void>(`/library/${kind}/preview`, { image }, { name })
export const makePreview = (kind: Kind, name: string, request: Values) =>
  post<{ id: JobId }>(`/library/${kind}/preview`, { make: true, ...request }, { name })

export const startJob = (kind: JobKind, request: Values, title?: string) => post<{ id: JobId; position: number }>('/jobs', { kind, request, title })
export const jobs = (limit = 60) => get<{ jobs: Job[] }>('/jobs', { limit }).then((answer) => answer.jobs)
export const job = (id: JobId) => get<Job>(`/jobs/${id}`)
export const jobAction = (id: JobId, action: 'cancel' | 'skip' | 'pause' | 'resume') => post<void>(`/jobs/${id}/${action}`)
export const setPriority = (id: JobId, priority: number) => post<void>(`/jobs/${id}/priority`, { priority })
export const forgetJob = (id: JobId) => remove(`/jobs/${id}`)

export const pictures = (offset: number, limit: number) => get<{ total: number; items: MadePicture[] }>('/pictures', { offset, limit })
export const deletePicture = (id: string) => remove('/pictures/file', { id })
export const pictureInfo = (image: string) => post<PictureInfo>('/pictures/info', { image })
export const tokens = (text: string) => post<{ count: number; limit: number }>('/prompt/tokens', { text })

export const datasets = () => get<{ datasets: { name: string; pictures: number }[] }>('/datasets').then((answer) => answer.datasets)
export const dataset = (name: string) => get<{ name: string; pictures: DatasetPicture[] }>('/datasets/item', { name })
export const addPictures = (name: string, pictures: { file: string; image: string; caption?: string }[]) =>
  post<void>('/datasets/item', { pictures }, { name })
export const setCaption = (name: string, file: string, caption: string) => post<void>('/datasets/caption', { caption }, { name, file })
export const removePicture = (name: string, file: string) => remove('/datasets/picture', { name, file })
export const removeDataset = (name: string) => remove('/datasets/item', { name })

export interface Listener {
  job: (job: Job) => void
  status: (status: Status) => void
  library: (version: number) => void
  connected: (yes: boolean) => void
}

// The browser connects anew by itself after a break; where it gives up (the server refused), we try again ourselves.
export function listen(to: Listener): () => void {
  let source: EventSource
  let timer = 0
  const open = () => {
    source = new EventSource(address('/events'))
    const on = <T>(name: string, act: (data: T) => void) =>
      source.addEventListener(name, (event) => act(JSON.parse((event as MessageEvent<string>).data) as T))
    on<Job>('job', to.job)
    on<Status>('status', to.status)
    on<{ version: number }>('library', ({ version }) => to.library(version))
    source.onopen = () => to.connected(true)
    source.onerror = () => {
      to.connected(false)
      if (source.readyState === EventSource.CLOSED) timer = window.setTimeout(open, 3000)
    }
  }
  open()
  return () => {
    clearTimeout(timer)
    source.close()
  }
}

// A picture of the server, or one from disk, as a data URI.
export function dataUri(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(reader.result as string)
    reader.onerror = () => reject(new ApiError(0, 'io', 'This file cannot be read.'))
    reader.readAsDataURL(blob)
  })
}

export async function fetchPicture(url: string): Promise<string> {
  const answer = await fetch(url)
  if (!answer.ok) throw await failure(answer)
  return dataUri(await answer.blob())
}
