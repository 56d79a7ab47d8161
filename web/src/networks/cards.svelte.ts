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
  answers = $state(0) // to new questions: what is in view may have to be fetched
  kind = $state<Kind>('loras') // of the cards that are shown
  private asked = new Set<number>()
  private seen = [0] // pages in view
  private generation = 0
  private asking: Kind = 'loras'
  private query: api.CardQuery = {}

  // What was shown stays until the answer is there. The same question again (the library has changed) is asked for what is in view.
  async ask(kind: Kind, query: api.CardQuery): Promise<void> {
    const again = this.answers > 0 && kind === this.asking && JSON.stringify(query) === JSON.stringify(this.query)
    this.asking = kind
    this.query = query
    const generation = ++this.generation
    const pages = again ? this.seen : [0]
    this.asked = new Set(pages)
    await Promise.all(pages.map((page) => this.fetchPage(page, generation, !again)))
  }

  see(first: number, end: number): void {
    this.seen = pagesOf(first, Math.max(end, first + 1), kPageSize)
    for (const page of this.seen) {
      if (this.asked.has(page)) continue
      this.asked.add(page)
      void this.fetchPage(page, this.generation, false)
    }
  }

  at(index: number): Card | undefined {
    return this.pages[Math.floor(index / kPageSize)]?.[index % kPageSize]
  }

  private async fetchPage(page: number, generation: number, fresh: boolean): Promise<void> {
    try {
      const answer = await api.cards(this.asking, { ...this.query, offset: page * kPageSize, limit: kPageSize })
      if (generation !== this.generation) return
      if (fresh) {
        this.pages = { [page]: answer.items }
        this.asked = new Set([page])
        this.kind = this.asking
        ++this.answers
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
