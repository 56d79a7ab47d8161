// Which file the Library view shows.
import { kept } from '../state/kept.svelte'
import type { Kind } from '../types'

export const opened = kept('lorikeet.opened', { kind: 'loras' as Kind, name: '' })
