// A long list of cards, fetched a page at a time as they come into view.
import * as api from '../api'
import { pagesOf } from '../lib/virtual'
import type { Card, Kind } from '../types'
import { asError } from '../state/app.svelte'

const kPageSize = 100

export class CardList {
  pages = $state<Record<number, Card[]>>({})
  total = $state(0)
  folders = $state<string[]>([])
  families = $state<string[]>([])
  scanning = $state(false)
  loaded = $state(false)
  error = $state<api.ApiError | null>(null)
  private asked = new Set<number>()
  private generation = 0

  kind = $state<Kind>('loras') // of the cards that are shown
  private asking: Kind = 'loras'
  private query: api.CardQuery = {}

  // What was shown stays until the answer to the new question is there.
  async ask(kind: Kind, query: api.CardQuery): Promise<void> {
    this.asking = kind
    this.query = query
    const generation = ++this.generation
    this.asked = new Set([0])
    await this.fetchPage(0, generation, true)
  }

  see(first: number, end: number): void {
    for (const page of pagesOf(first, end, kPageSize)) {
      if (this.asked.has(page)) continue
      this.asked.add(page)
      void this.fetchPage(page, this.generation, false)
    }
  }

  at(index: number): Card | undefined {
    return this.pages[Math.floor(index / kPageSize)]?.[index % kPageSize]
  }

  replace(card: Card): void {
    for (const page of Object.values(this.pages)) {
      const index = page.findIndex((other) => other.name === card.name)
      if (index >= 0) page[index] = card
    }
  }

  private async fetchPage(page: number, generation: number, fresh: boolean): Promise<void> {
    try {
      const answer = await api.cards(this.asking, { ...this.query, offset: page * kPageSize, limit: kPageSize })
      if (generation !== this.generation) return
      if (fresh) {
        this.pages = { [page]: answer.items }
        this.kind = this.asking
      } else {
        this.pages[page] = answer.items
      }
      this.total = answer.total
      this.folders = answer.folders
      this.families = answer.families
      this.scanning = answer.scanning
      this.error = null
    } catch (error) {
      if (generation !== this.generation) return
      this.asked.delete(page)
      this.error = asError(error)
    }
    this.loaded = true
  }
}
