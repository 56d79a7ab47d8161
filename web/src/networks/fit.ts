// Whether a card fits the checkpoint that is chosen, before anybody clicks.
import { familyName } from '../lib/format'
import type { Card } from '../types'

// Why it does not; "" when it does, or when nobody knows.
export function misfit(card: Card, checkpoint: Card | null | undefined): string {
  if (card.error) return `cannot be read: ${card.error}`
  if (!checkpoint?.family || !card.family || card.family === checkpoint.family) return ''
  return `made for ${familyName(card.family)}; ${checkpoint.name} is ${familyName(checkpoint.family)}`
}
