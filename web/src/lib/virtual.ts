// Which cards of a long list can be seen, and which pages of the server hold them.

export interface Window {
  columns: number
  first: number // card
  end: number // behind the last card
  offset: number // px from the top to the first row drawn
  height: number // px of the whole list
}

export interface Layout {
  total: number
  width: number // px of the list
  view: number // px that show at once
  scroll: number // px
  cardWidth: number // px at least, with the gap
  rowHeight: number // px, with the gap
}

const kSpareRows = 2

export function visible({ total, width, view, scroll, cardWidth, rowHeight }: Layout): Window {
  const columns = Math.max(1, Math.floor(width / cardWidth))
  const rows = Math.ceil(total / columns)
  const most = Math.max(0, rows * rowHeight - view)
  const at = Math.min(Math.max(0, scroll), most)
  const firstRow = Math.max(0, Math.floor(at / rowHeight) - kSpareRows)
  const endRow = Math.min(rows, Math.ceil((at + view) / rowHeight) + kSpareRows)
  return {
    columns,
    first: firstRow * columns,
    end: Math.min(total, endRow * columns),
    offset: firstRow * rowHeight,
    height: rows * rowHeight,
  }
}

export function pagesOf(first: number, end: number, size: number): number[] {
  const pages: number[] = []
  for (let page = Math.floor(first / size); page * size < end; ++page) pages.push(page)
  return pages
}
