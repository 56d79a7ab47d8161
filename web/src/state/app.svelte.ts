// What the whole page shares: which view is open, the server's status and settings, messages, the look.
import * as api from '../api'
import type { Schema, Status } from '../types'
import { kept } from './kept.svelte'

export const views = ['generate', 'plot', 'train', 'library', 'info', 'queue'] as const
export type View = (typeof views)[number]

export interface Toast {
  id: number
  text: string
  hint: string
  bad: boolean
}

export const app = $state({
  view: viewOfAddress(),
  status: null as Status | null,
  schema: null as Schema | null,
  schemaError: null as api.ApiError | null,
  connected: true,
  libraryVersion: 0,
  toasts: [] as Toast[],
  asksToken: null as null | ((given: boolean) => void),
})

export const look = kept('lorikeet.look', { theme: 'auto' as 'auto' | 'light' | 'dark' })

function viewOfAddress(): View {
  const asked = location.hash.replace(/^#\/?/, '') as View
  return views.includes(asked) ? asked : 'generate'
}

window.addEventListener('hashchange', () => (app.view = viewOfAddress()))

export function go(view: View): void {
  location.hash = '#/' + view
  app.view = view
}

let lastToast = 0
export function say(text: string, hint = '', bad = false): void {
  const id = ++lastToast
  app.toasts.push({ id, text, hint, bad })
  setTimeout(() => dismiss(id), bad ? 12000 : 5000)
}

export function dismiss(id: number): void {
  app.toasts = app.toasts.filter((toast) => toast.id !== id)
}

export function asError(error: unknown): api.ApiError {
  if (error instanceof api.ApiError) return error
  if (error instanceof Error) return new api.ApiError(0, 'internal', error.message)
  const { message, hint } = error as { message?: string; hint?: string }
  return new api.ApiError(0, 'bad_input', message ?? String(error), hint)
}

// For what fails away from any field: a message in the corner.
export function complain(error: unknown): void {
  const { message, hint } = asError(error)
  say(message, hint, true)
}

export async function loadBasics(): Promise<void> {
  try {
    const [status, schema] = await Promise.all([api.status(), api.schema()])
    app.status = status
    app.schema = schema
    app.schemaError = null
  } catch (error) {
    app.schemaError = asError(error)
  }
}

export async function chooseCheckpoint(name: string): Promise<void> {
  try {
    app.status = await api.chooseCheckpoint(name)
    say(`The next pictures are made with ${name}.`)
  } catch (error) {
    complain(error)
  }
}

// Asks for the token once for all calls that fail meanwhile.
let asking: Promise<void> | null = null
api.session.ask = () => {
  asking ??= new Promise<void>((resolve, reject) => {
    app.asksToken = (given) => {
      app.asksToken = null
      asking = null
      if (given) resolve()
      else reject(new api.ApiError(401, 'unauthorized', 'The server wants a token.', 'Reload the page to be asked again.'))
    }
  })
  return asking
}
